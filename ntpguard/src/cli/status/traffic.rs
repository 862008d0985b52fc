//! The part of `ntpguard status` about requests, replies and their senders.

use std::{cmp::Reverse, collections::BTreeSet, path::Path};

use ntpguard::{
    api::{
        astray::Answer,
        status::Traffic,
        traffic::{Server, Ungranted, Untrusted},
    },
    escape,
};

use super::super::output::{self, seconds};

/// Most rows of a table; `--json` has all.
const ROWS: usize = 10;

/// Most guests that are explained.
const GUESTS: usize = 3;

/// What stands for the process that sent what was forwarded.
const NO_PROCESS: &str = "(forwarded)";

/// What can be done for it.
const FORWARDED: &str = "(forwarded): sent by another host, a container or a guest, not by a \
                         process of this host; run its time daemon in this host's network, grant \
                         the server, or admit replies to all requests (--learn any)";

/// What can be done for what a guest sent.
fn guest(cgroup: &Path) -> String {
    let cgroup = cgroup.display();
    format!(
        "{cgroup} has its own network (a container or guest on macvlan, ipvlan or a bridge): \
         trust it (--trust {cgroup}), run its time daemon in this host's network, or admit \
         replies to all requests (--learn any)"
    )
}

/// Whether and how requests are tracked.
pub(super) fn lines(traffic: &Traffic) -> Vec<String> {
    let (Some(track), Some(learn)) = (&traffic.track, &traffic.learn) else {
        return Vec::new();
    };
    let rates = rates(traffic);
    if track == "off" {
        let off = "tracking  off: replies are admitted by address alone".to_owned();
        return vec![rates, off];
    }
    let whose = match learn.as_str() {
        "off" => "only from granted servers",
        "trusted" => "learning from trusted senders",
        _ => "learning from all requests",
    };
    let within = traffic
        .reply_window
        .map_or_else(String::new, |window| format!(" within {window} s"));
    let mut lines = vec![
        rates,
        format!("tracking  strict: replies must answer a tracked request{within}; {whose}"),
    ];
    lines.extend(
        traffic
            .trusted_senders
            .iter()
            .map(|sender| format!("trusted   {} ({})", sender.cgroup, sender.why))
            .map(|line| escape::line(&line)),
    );
    lines.extend(traffic.untrusted.iter().map(|untrusted| {
        let Untrusted { daemon, why, cure } = untrusted;
        escape::line(&format!("untrusted {daemon}: {why}; {cure}"))
    }));
    let requests = traffic.requests;
    let total = requests.trusted + requests.granted + requests.ungranted;
    lines.push(format!(
        "requests  {total}: from trusted senders {}, to granted servers {}, other {}",
        requests.trusted, requests.granted, requests.ungranted
    ));
    lines
}

/// How often clients may ask.
fn rates(traffic: &Traffic) -> String {
    let limits = [
        (traffic.client_rate, "each"),
        (traffic.total_rate, "in total"),
    ];
    let limits: Vec<String> = limits
        .iter()
        .filter_map(|(rate, of)| rate.map(|rate| format!("{rate}/s {of}")))
        .collect();
    if limits.is_empty() {
        return "clients   no rate limit".to_owned();
    }
    format!("clients   {}", limits.join(", "))
}

/// What the servers last replied, and requests to servers without a grant.
pub(super) fn tables(traffic: &Traffic) -> String {
    let mut text = String::new();
    if !traffic.servers.is_empty() {
        let headings = [
            "SERVER", "REPLIES", "LAST", "STRATUM", "LEAP", "POLL", "REFID", "KISS",
        ];
        text.push('\n');
        text.push_str(&output::table(
            &headings,
            traffic.servers.iter().take(ROWS).map(server),
        ));
        text.push_str(&output::rest(traffic.servers.len(), ROWS));
    }
    text.push_str(&refused(&traffic.servers));
    text.push_str(&astray(&traffic.astray));
    if !traffic.ungranted.is_empty() {
        text.push_str("\nQueried but not granted (replies dropped):\n");
        let headings = ["SERVER", "NEEDS", "REQUESTS", "LAST", "PROCESS", "CGROUP"];
        text.push_str(&output::table(
            &headings,
            traffic.ungranted.iter().take(ROWS).map(ungranted),
        ));
        text.push_str(&output::rest(traffic.ungranted.len(), ROWS));
        let guests = traffic
            .ungranted
            .iter()
            .filter_map(|row| row.guest.as_deref());
        let guests: BTreeSet<&Path> = guests.collect();
        let cures = guests.into_iter().take(GUESTS).map(guest);
        let is_forwarded = traffic.ungranted.iter().any(|row| row.forwarded);
        for cure in cures.chain(is_forwarded.then(|| FORWARDED.to_owned())) {
            text.push_str(&output::wrap(&escape::line(&cure)));
            text.push('\n');
        }
        let queried = traffic.ungranted.iter().find(|row| row.needs == "control");
        if let Some(row) = queried {
            let cure = format!(
                "`{}` admits its replies to ntpq and similar tools",
                row.hint
            );
            text.push_str(&(output::wrap(&cure) + "\n"));
        }
    }
    text
}

/// Answers that came from or went elsewhere than asked.
fn astray(answers: &[Answer]) -> String {
    if answers.is_empty() {
        return String::new();
    }
    let mut text = "\nReplies that do not match their request (dropped):\n".to_owned();
    for answer in answers.iter().take(ROWS) {
        let lines = format!(
            "{}, {} ago\n          {}",
            answer.text,
            seconds(answer.seconds_ago.into()),
            answer.hint
        );
        text.push_str(&output::wrap(&lines));
        text.push('\n');
    }
    text + &output::rest(answers.len(), ROWS)
}

/// What was refused of servers, those with most of it first.
fn refused(servers: &[Server]) -> String {
    let total = |server: &Server| -> u64 { server.refused.iter().map(|one| one.packets).sum() };
    let mut refused: Vec<&Server> = servers.iter().filter(|one| total(one) > 0).collect();
    if refused.is_empty() {
        return String::new();
    }
    refused.sort_by_key(|server| (Reverse(total(server)), server.address));
    let mut text = "\nServers with rejected packets:\n".to_owned();
    for server in refused.iter().take(ROWS) {
        let causes: Vec<String> = match server.refused.as_slice() {
            [only] => vec![only.cause()],
            several => several
                .iter()
                .map(|one| format!("{} {}", one.cause(), one.packets))
                .collect(),
        };
        let line = format!(
            "{}: {} replies, {} rejected: {}",
            server.address,
            server.replies,
            total(server),
            causes.join(", ")
        );
        let hints = server.refused.iter();
        let hints = hints.map(|one| format!("          {}: {}", one.cause(), one.hint));
        let lines: Vec<String> = std::iter::once(line).chain(hints).collect();
        text.push_str(&output::wrap(&lines.join("\n")));
        text.push('\n');
    }
    text + &output::rest(refused.len(), ROWS)
}

fn server(server: &Server) -> Vec<String> {
    let replied = server.replied_seconds_ago;
    let said = |value: String| {
        if replied.is_some() {
            value
        } else {
            "-".to_owned()
        }
    };
    vec![
        server.address.to_string(),
        server.replies.to_string(),
        replied.map_or_else(|| "-".to_owned(), |ago| seconds(ago.into())),
        said(server.stratum.to_string()),
        said(server.leap.to_string()),
        said(server.poll.to_string()),
        said(escape::text(&server.refid)),
        server
            .kiss
            .as_deref()
            .map_or_else(|| "-".to_owned(), escape::text),
    ]
}

fn ungranted(row: &Ungranted) -> Vec<String> {
    let or_dash = |value: &Option<String>| {
        value
            .as_deref()
            .map_or_else(|| "-".to_owned(), escape::text)
    };
    vec![
        row.address.to_string(),
        row.needs.clone(),
        row.requests.to_string(),
        seconds(row.seconds_ago.into()),
        if row.forwarded {
            NO_PROCESS.to_owned()
        } else {
            or_dash(&row.process)
        },
        or_dash(&row.cgroup),
    ]
}

#[cfg(test)]
mod tests {
    use ntpguard::api::{refusals::Refusal, traffic::Requests};

    use super::*;

    fn refusal(reason: &str, packets: u64, hint: &str) -> Refusal {
        Refusal {
            reason: reason.to_owned(),
            lacks: None,
            packets,
            hint: hint.repeat(5),
        }
    }

    #[test]
    fn what_was_refused_stands_beside_the_replies_with_its_cause() {
        let mut traffic = traffic(3);
        traffic.servers[0].refused = Vec::new();
        traffic.servers[1].refused.truncate(1);
        let text = tables(&traffic);
        let words: Vec<&str> = text.split_whitespace().collect();
        let words = words.join(" ");
        let one = "1234:1: 123456 replies, 20 rejected: oversize";
        let several = "1234:2: 123456 replies, 24 rejected: oversize 20, late 4";
        let place = |what: &str| {
            words
                .find(what)
                .unwrap_or_else(|| panic!("{what} in {text}"))
        };
        assert!(place(several) < place(one));
        assert_eq!(words.matches(" replies, ").count(), 2, "{text}");
    }

    fn traffic(servers: usize) -> Traffic {
        let server = |last: usize| Server {
            address: format!("2001:db8:1234:5678:9abc:def0:1234:{last:x}")
                .parse()
                .unwrap(),
            replies: 123_456,
            asked_seconds_ago: Some(3),
            replied_seconds_ago: Some(3),
            stratum: 2,
            leap: 0,
            version: 4,
            poll: 10,
            refid: "192.0.2.123".to_owned(),
            kiss: Some("RATE".to_owned()),
            kissed_seconds_ago: Some(60),
            refused: vec![
                refusal("oversize", 20, "longer, and so on and on "),
                refusal("late", 4, "slower"),
            ],
        };
        Traffic {
            track: Some("strict".to_owned()),
            learn: Some("trusted".to_owned()),
            requests: Requests {
                trusted: 4,
                granted: 2,
                ungranted: 1,
            },
            servers: (0..servers).map(server).collect(),
            ungranted: vec![Ungranted {
                sender: 7,
                address: "192.0.2.66".parse().unwrap(),
                requests: 1,
                seconds_ago: 5,
                needs: "control".to_owned(),
                hint: "ntpguard allowlist add 192.0.2.66 --role control".to_owned(),
                process: Some("ntpdig".to_owned()),
                cgroup: None,
                guest: None,
                forwarded: false,
            }],
            ..Traffic::default()
        }
    }

    #[test]
    fn everything_fits_eighty_columns() {
        let traffic = traffic(12);
        let text = output::wrap(&lines(&traffic).join("\n")) + &tables(&traffic);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(
            text.contains("requests  7: from trusted senders 4, to granted servers 2, other 1"),
            "{text}"
        );
        assert!(text.contains("and 2 more with --json"), "{text}");
        assert!(text.contains("ntpdig"), "{text}");
        let cure = "`ntpguard allowlist add 192.0.2.66 --role control` admits its replies";
        assert!(text.contains(cure), "{text}");
    }

    #[test]
    fn what_was_forwarded_is_said_to_be_with_what_to_do() {
        let mut traffic = traffic(1);
        assert!(!tables(&traffic).contains("(forwarded)"));
        traffic.ungranted[0].forwarded = true;
        let text = tables(&traffic);
        assert_eq!(text.matches("(forwarded)").count(), 2, "{text}");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.join(" ").contains("--learn any"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn a_guest_is_said_to_be_one_with_what_to_do() {
        let mut traffic = traffic(1);
        let cgroup = "/sys/fs/cgroup/machine.slice/libpod-1.scope\u{1b}";
        traffic.ungranted[0].guest = Some(cgroup.into());
        traffic.ungranted.push(traffic.ungranted[0].clone());
        let text = tables(&traffic);
        let words: Vec<&str> = text.split_whitespace().collect();
        let cure = "(--trust /sys/fs/cgroup/machine.slice/libpod-1.scope";
        assert_eq!(words.join(" ").matches(cure).count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn names_of_processes_cannot_write_on_the_terminal() {
        let mut traffic = traffic(1);
        let name = "\u{1b}[31mntpd\n\u{202e}".to_owned();
        traffic.ungranted[0].process = Some(name.clone());
        traffic.ungranted[0].cgroup = Some(name.clone());
        traffic.servers[0].refid = name;
        let text = tables(&traffic);
        let is_plain = |line: &str| line.chars().all(escape::is_plain);
        assert!(text.lines().all(is_plain), "{text:?}");
        assert!(text.contains("\\u{1b}[31mntpd"), "{text}");
    }

    #[test]
    fn without_a_guard_nothing_is_said() {
        assert!(lines(&Traffic::default()).is_empty());
        assert!(tables(&Traffic::default()).is_empty());
    }
}
