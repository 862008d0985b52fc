//! `restrict` and `unrestrict` lines.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    super::{
        Family,
        host::{self, HostError},
        reading_builder::{Line, ReadingBuilder},
    },
    expect_word,
    lexer::{Expect, Lexer, Word},
    table::{Entry, Limits, Table},
};

/// Flags that neither forbid asking for the time nor reading variables.
const OTHER_FLAGS: &[&str] = &[
    "epeer",
    "flake",
    "kod",
    "limited",
    "lowpriotrap",
    "mssntp",
    "noepeer",
    "nomodify",
    "nomrulist",
    "nopeer",
    "notrap",
    "notrust",
    "version",
];

/// Whom a line is about.
enum Whom {
    /// Everybody whom no other line is about.
    Default(Family),
    /// The time sources themselves, which are no clients by that.
    Source,
    /// Hosts that it names.
    Named(IpNet),
}

/// What a line says of them.
struct Said {
    limits: Limits,
    /// Whether it is about packets from port 123 alone.
    ntp_port: bool,
}

/// Reads the rest of a `restrict` line.
pub(super) fn restrict(
    table: &mut Table,
    builder: &mut ReadingBuilder<'_>,
    line: &Line,
    words: &mut Lexer<'_>,
) {
    let Some((column, whom)) = whom(builder, line, words) else {
        return;
    };
    let said = match flags(builder, line, words) {
        Some(said) => said,
        // Nobody knows what the line was to forbid, so whom it names stays closed.
        None if matches!(whom, Whom::Named(_)) => Said {
            limits: Limits::ALL,
            ntp_port: false,
        },
        None => return,
    };
    for prefix in prefixes(&whom) {
        let limits = said.limits;
        table.add(
            prefix,
            said.ntp_port,
            Entry {
                limits,
                place: line.at(column),
            },
        );
    }
}

/// Reads the rest of a line that takes back an entry, or the flags of one.
pub(super) fn unrestrict(
    table: &mut Table,
    builder: &mut ReadingBuilder<'_>,
    keyword: &str,
    line: &Line,
    words: &mut Lexer<'_>,
) {
    // The classic ntpd has `delrestrict [ntpport] ADDRESS`.
    let mut first = words.next(Expect::Keyword);
    let early_ntp_port =
        keyword == "delrestrict" && first.as_ref().is_some_and(|w| w.is("ntpport"));
    if early_ntp_port {
        first = words.next(Expect::Keyword);
    }
    let Some((_, whom)) = whom_from(first, builder, line, words) else {
        return;
    };
    let Some(said) = flags(builder, line, words) else {
        return;
    };
    for prefix in prefixes(&whom) {
        let ntp_port = said.ntp_port || early_ntp_port;
        table.take_back(prefix, ntp_port, said.limits);
    }
}

fn prefixes(whom: &Whom) -> Vec<IpNet> {
    let v4 = IpNet::V4(Ipv4Net::default());
    let v6 = IpNet::V6(Ipv6Net::default());
    match whom {
        Whom::Default(Family::V4) => vec![v4],
        Whom::Default(Family::V6) => vec![v6],
        Whom::Default(Family::Any) => vec![v4, v6],
        Whom::Source => Vec::new(),
        Whom::Named(prefix) => vec![*prefix],
    }
}

/// Reads `[-4|-6] default`, `source`, or `[-4|-6] ADDRESS[/LENGTH] [mask MASK]`.
fn whom(
    builder: &mut ReadingBuilder<'_>,
    line: &Line,
    words: &mut Lexer<'_>,
) -> Option<(u32, Whom)> {
    let first = words.next(Expect::Keyword);
    whom_from(first, builder, line, words)
}

fn whom_from(
    first: Option<Word>,
    builder: &mut ReadingBuilder<'_>,
    line: &Line,
    words: &mut Lexer<'_>,
) -> Option<(u32, Whom)> {
    let what = "`default`, `source` or an address";
    let Some(first) = first else {
        builder.error(
            line.at(words.column()),
            format!("expected {what}, not the end of the line"),
        );
        return None;
    };
    let (family, word) = match first.keyword() {
        Some("-4") => (
            Family::V4,
            expect_word(builder, line, words, Expect::Keyword, what)?,
        ),
        Some("-6") => (
            Family::V6,
            expect_word(builder, line, words, Expect::Keyword, what)?,
        ),
        _ => (Family::Any, first),
    };
    match word.keyword() {
        Some("default") => return Some((word.column, Whom::Default(family))),
        Some("source") => return Some((word.column, Whom::Source)),
        _ => {}
    }
    match named(&word.text, family) {
        Ok(prefix) => {
            let prefix = match mask(builder, line, words, prefix)? {
                Some(masked) => masked,
                None => prefix,
            };
            check(prefix, builder, line, &word).map(|prefix| (word.column, Whom::Named(prefix)))
        }
        Err(message) => {
            if host::is_name(&word.text) && word.text.contains(|c: char| c.is_ascii_alphabetic()) {
                builder.note(
                    line.at(word.column),
                    format!(
                        "ignored: {} is a name, and access to this host must not depend on DNS; \
                         use its address",
                        word.text
                    ),
                );
            } else {
                builder.error(line.at(word.column), message);
            }
            None
        }
    }
}

/// Reads `ADDRESS[/LENGTH]`.
fn named(text: &str, family: Family) -> Result<IpNet, String> {
    let (address_text, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Some(address) = host::address(address_text) else {
        return Err(format!(
            "expected `default`, `source` or an address, not {text:?}"
        ));
    };
    let of_family = match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    if !of_family {
        return Err(HostError::Family(address).to_string());
    }
    let Some(length) = length else {
        return Ok(IpNet::from(address));
    };
    length
        .parse()
        .ok()
        .and_then(|length| IpNet::new(address, length).ok())
        .map(|prefix| prefix.trunc())
        .ok_or_else(|| format!("{length:?} is not a prefix length for {address}"))
}

/// Reads `mask MASK`, if that comes next. `None` after an error, `Some(None)` without a mask.
#[expect(
    clippy::option_option,
    reason = "no mask and a wrong mask are two things"
)]
fn mask(
    builder: &mut ReadingBuilder<'_>,
    line: &Line,
    words: &mut Lexer<'_>,
    prefix: IpNet,
) -> Option<Option<IpNet>> {
    if !words.take_keyword("mask") {
        return Some(None);
    }
    let word = expect_word(builder, line, words, Expect::Keyword, "an address mask")?;
    let masked = match (prefix.addr(), host::address(&word.text)) {
        (IpAddr::V4(address), Some(IpAddr::V4(mask))) => {
            Ipv4Net::with_netmask(address, mask).ok().map(IpNet::V4)
        }
        (IpAddr::V6(address), Some(IpAddr::V6(mask))) => {
            Ipv6Net::with_netmask(address, mask).ok().map(IpNet::V6)
        }
        _ => None,
    };
    if masked.is_none() {
        builder.error(
            line.at(word.column),
            format!(
                "{:?} is not a mask for {}: expected one bits followed by zero bits, as in {}",
                word.text,
                prefix.addr(),
                if prefix.addr().is_ipv4() {
                    "255.255.255.0"
                } else {
                    "ffff:ffff:ffff:ffff::"
                },
            ),
        );
    }
    masked.map(|masked| Some(masked.trunc()))
}

/// Leaves out what no packet can come from: loopback silently, as every file names it.
fn check(
    prefix: IpNet,
    builder: &mut ReadingBuilder<'_>,
    line: &Line,
    word: &Word,
) -> Option<IpNet> {
    let lowest = prefix.network();
    if prefix.prefix_len() >= 8 && lowest.is_loopback() {
        return None;
    }
    let nobody = lowest.is_multicast()
        || prefix.prefix_len() == prefix.max_prefix_len()
            && host::unicast(lowest, Family::Any).is_err();
    if nobody {
        builder.error(
            line.at(word.column),
            format!("ignored: no packet comes from {prefix}"),
        );
        return None;
    }
    Some(prefix)
}

/// Reads flags to the end of the line; `None` after one that ntpd does not know.
fn flags(builder: &mut ReadingBuilder<'_>, line: &Line, words: &mut Lexer<'_>) -> Option<Said> {
    let mut said = Said {
        limits: Limits::default(),
        ntp_port: false,
    };
    while let Some(word) = words.next(Expect::Keyword) {
        match word.keyword() {
            Some("ignore") => said.limits = Limits::ALL,
            Some("noserve") => said.limits.no_time = true,
            Some("noquery") => said.limits.no_query = true,
            Some("ntpport") => said.ntp_port = true,
            Some(option @ ("ippeerlimit" | "serverresponse")) => {
                expect_word(
                    builder,
                    line,
                    words,
                    Expect::Keyword,
                    &format!("a value for {option}"),
                )?;
            }
            Some(flag) if OTHER_FLAGS.contains(&flag) => {}
            Some(flag @ ("-4" | "-6")) => {
                builder.error(
                    line.at(word.column),
                    format!(
                        "{flag} precedes the address, as in `restrict {flag} default`: this line \
                         grants nothing"
                    ),
                );
                return None;
            }
            _ => {
                builder.error(
                    line.at(word.column),
                    format!("unknown flag {:?}: this line grants nothing", word.text),
                );
                return None;
            }
        }
    }
    Some(said)
}
