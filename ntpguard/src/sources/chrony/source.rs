//! `server`, `pool`, `peer` and `initstepslew`.

use ntpguard_common::{maps::tables::Role, wire::ntp};

use super::{
    super::{
        Family,
        reading_builder::{Line, ReadingBuilder},
    },
    words::Words,
};

/// Whether a line with this keyword names a source.
pub(super) fn is_source(keyword: &str) -> bool {
    matches!(keyword, "server" | "pool" | "peer")
}

/// Reads the rest of a `server`, `pool` or `peer` line.
pub(super) fn source(
    builder: &mut ReadingBuilder<'_>,
    keyword: &str,
    line: &Line,
    words: &mut Words<'_>,
) {
    let Some(name) = words.next() else {
        builder.error(
            line.at(words.column()),
            "expected the name or address of a time source",
        );
        return;
    };
    let Some(options) = options(builder, line, words) else {
        return;
    };
    let place = line.at(name.column);
    // A peer is polled, too.
    let roles: &[Role] = if keyword == "peer" {
        &[Role::Peer, Role::Server]
    } else {
        &[Role::Server]
    };
    builder.source_at(name.text, options.port, options.family, roles, place);
}

/// What the options say that matters here.
struct Options {
    family: Family,
    port: u16,
}

/// Reads the options. Those that do not matter are not looked at: there are more in each release.
fn options(
    builder: &mut ReadingBuilder<'_>,
    line: &Line,
    words: &mut Words<'_>,
) -> Option<Options> {
    let mut options = Options {
        family: Family::Any,
        port: ntp::PORT,
    };
    while let Some(option) = words.next() {
        if option.text.eq_ignore_ascii_case("ipv4") {
            options.family = Family::V4;
        } else if option.text.eq_ignore_ascii_case("ipv6") {
            options.family = Family::V6;
        } else if option.text.eq_ignore_ascii_case("port") {
            options.port = port(builder, line, words)?;
        }
    }
    Some(options)
}

/// Reads a port, or tells that there is none.
pub(super) fn port(
    builder: &mut ReadingBuilder<'_>,
    line: &Line,
    words: &mut Words<'_>,
) -> Option<u16> {
    let word = words.next();
    let port = word.and_then(|word| word.text.parse().ok());
    if port.is_none() {
        let column = word.map_or(words.column(), |word| word.column);
        builder.error(line.at(column), "expected a port, a number from 0 to 65535");
    }
    port
}

/// Reads the rest of an `initstepslew` line: how far off the clock may be, then servers.
pub(super) fn initial(builder: &mut ReadingBuilder<'_>, line: &Line, words: &mut Words<'_>) {
    let threshold = words.next();
    if threshold.is_none_or(|word| word.text.parse::<f64>().is_err()) {
        let column = threshold.map_or(words.column(), |word| word.column);
        builder.error(
            line.at(column),
            "expected a number of seconds, then time servers",
        );
        return;
    }
    while let Some(name) = words.next() {
        builder.source(
            name.text,
            Family::Any,
            &[Role::Server],
            line.at(name.column),
        );
    }
}
