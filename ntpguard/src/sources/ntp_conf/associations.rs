//! `server`, `pool`, `peer`, what takes them back, and what listens without naming anybody.

use std::{collections::BTreeSet, net::IpAddr};

use ntpguard_common::{maps::tables::Role, wire::ntp};

use super::{
    super::{
        Family, Host, Place,
        host::{self, Spelling},
        reading_builder::{Line, ReadingBuilder},
    },
    expect_word,
    lexer::{Expect, Lexer, Word},
};
use crate::scope::Scoped;

/// Options that stand alone.
const FLAGS: &[&str] = &[
    "autokey", "burst", "iburst", "noselect", "noval", "nts", "preempt", "prefer", "true", "xleave",
];
/// Options that a number follows.
const NUMBERS: &[&str] = &[
    "baud", "bias", "expire", "flag1", "flag2", "flag3", "flag4", "key", "maxpoll", "minpoll",
    "mode", "stratum", "subtype", "time1", "time2", "ttl", "version",
];
/// Options that a text follows.
const TEXTS: &[&str] = &["aead", "ca", "cert", "ident", "path", "ppspath", "refid"];
/// Options that name a time server which an NTS key server is asked for.
const SERVERS: &[&str] = &["ask", "require"];

/// Reads the rest of a `server`, `pool` or `peer` line.
pub(super) fn source(
    builder: &mut ReadingBuilder<'_>,
    keyword: &str,
    line: &Line,
    words: &mut Lexer<'_>,
) {
    let Some((family, word)) = address(builder, line, words) else {
        return;
    };
    // A peer is polled like a server, and NTPsec takes it for one.
    let roles: &[Role] = if keyword == "peer" {
        &[Role::Peer, Role::Server]
    } else {
        &[Role::Server]
    };
    let place = line.at(word.column);
    if is_reference_clock(&word.text) {
        return;
    }
    let options = options(builder, line, words);
    match name_without_port(&word.text) {
        Named::Host(name) => builder.source(name, family, roles, place),
        Named::HostAndPort(name, port) if options.nts || port == ntp::PORT => {
            builder.source(name, family, roles, place);
        }
        Named::HostAndPort(_, port) => builder.note(
            place,
            format!(
                "ignored: ntpd queries port {} only, and this source has {port}",
                ntp::PORT
            ),
        ),
    }
    for server in options.servers {
        builder.source(&server.text, family, roles, line.at(server.column));
    }
}

/// Reads `[-4|-6] ADDRESS`.
fn address(
    builder: &mut ReadingBuilder<'_>,
    line: &Line,
    words: &mut Lexer<'_>,
) -> Option<(Family, Word)> {
    let what = "the name or address of a time source";
    let first = expect_word(builder, line, words, Expect::Text, what)?;
    // ntpd looks at no more of the word than this.
    let family = match first.text.get(..2) {
        Some("-4") => Family::V4,
        Some("-6") => Family::V6,
        _ => return Some((Family::Any, first)),
    };
    Some((
        family,
        expect_word(builder, line, words, Expect::Text, what)?,
    ))
}

/// What the options say that matters here.
#[derive(Default)]
struct Options {
    nts: bool,
    servers: Vec<Word>,
}

/// Reads options up to the first that neither ntpd knows, or the end. NTPsec keeps a source with
/// an option that it does not know (seen with 1.2.2).
fn options(builder: &mut ReadingBuilder<'_>, line: &Line, words: &mut Lexer<'_>) -> Options {
    let mut options = Options::default();
    while let Some(option) = words.next(Expect::Keyword) {
        let known = option.keyword().unwrap_or_default();
        let value = if FLAGS.contains(&known) {
            options.nts |= known == "nts";
            continue;
        } else if NUMBERS.contains(&known) {
            words
                .next(Expect::Keyword)
                .filter(|value| is_number(&value.text))
        } else if TEXTS.contains(&known) || SERVERS.contains(&known) {
            words.next(Expect::Text).filter(|value| !value.foreign)
        } else {
            builder.note(
                line.at(option.column),
                format!(
                    "unknown option {:?}: ntpd ignores the rest of this line and keeps the source",
                    option.text
                ),
            );
            break;
        };
        let Some(value) = value else {
            builder.note(
                line.at(option.column),
                format!("{known} has no value: ntpd skips this line; the source is granted"),
            );
            break;
        };
        if SERVERS.contains(&known) {
            options.servers.push(value);
        }
    }
    options
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
}

/// 127.127.t.u is unit u of the reference clock of type t, and no address.
fn is_reference_clock(text: &str) -> bool {
    matches!(host::address(text), Some(IpAddr::V4(address)) if address.octets().starts_with(&[127, 127]))
}

/// A host, and the port that NTPsec lets follow it: that of the NTS key server, if it is one.
enum Named<'a> {
    Host(&'a str),
    HostAndPort(&'a str, u16),
}

fn name_without_port(text: &str) -> Named<'_> {
    // An IPv6 address has colons of its own. Where one is in brackets, ntpd ignores what follows
    // and uses port 123, so it counts as a host alone.
    if host::address(text).is_some() {
        return Named::Host(text);
    }
    match text
        .rsplit_once(':')
        .map(|(name, port)| (name, port.parse()))
    {
        Some((name, Ok(port))) => Named::HostAndPort(name, port),
        _ => Named::Host(text),
    }
}

/// Grants the groups that are listened to, and tells what has to be done by hand for a command that takes
/// time from whoever sends it.
pub(super) fn listener(
    builder: &mut ReadingBuilder<'_>,
    keyword: &str,
    place: Place,
    words: &mut Lexer<'_>,
) {
    if keyword == "multicastclient" {
        while let Some(word) = words.next(Expect::Text) {
            if let Ok(group) = word.text.parse::<IpAddr>()
                && group.is_multicast()
            {
                builder.prefix(group.into(), &[Role::Broadcast], place.clone());
            }
        }
    }
    let advice = if keyword == "manycastclient" {
        "manycast servers reply from addresses not known in advance: grant them manually \
         (`ntpguard allowlist add ADDR --role server`) and run with `--track off`"
    } else {
        "it names no broadcast server: grant each manually (`ntpguard allowlist add ADDR --role \
         broadcast`)"
    };
    builder.note(place, format!("{keyword} grants nothing: {advice}"));
}

/// Sources that `unpeer` or `unconfig` takes back, wherever it stands: ntpd looks at these when it
/// has read everything.
#[derive(Default)]
pub(super) struct Unwanted {
    addresses: BTreeSet<Scoped<IpAddr>>,
    /// In lower case.
    names: BTreeSet<String>,
}

impl Unwanted {
    /// Reads the rest of the line.
    pub(super) fn read(
        &mut self,
        builder: &mut ReadingBuilder<'_>,
        line: &Line,
        words: &mut Lexer<'_>,
    ) {
        let Some((family, word)) = address(builder, line, words) else {
            return;
        };
        // NTPsec's `unpeer clock TYPE`, and the number of an association, name no host.
        if word.is("clock") || word.text.bytes().all(|byte| byte.is_ascii_digit()) {
            return;
        }
        match host::source(&word.text, family, Spelling::NTPD) {
            Ok(Host::Address(address)) => {
                self.addresses.insert(address);
            }
            Ok(Host::Name(name)) => {
                self.names.insert(name.to_ascii_lowercase());
            }
            Err(error) if error.is_note() => {}
            Err(error) => builder.error(line.at(word.column), error.to_string()),
        }
    }

    /// Takes them back.
    pub(super) fn remove_from(&self, builder: &mut ReadingBuilder<'_>) {
        if self.addresses.is_empty() && self.names.is_empty() {
            return;
        }
        builder.remove_sources(|host| match host {
            Host::Address(address) => self.addresses.contains(address),
            Host::Name(name) => self.names.contains(&name.to_ascii_lowercase()),
        });
    }
}
