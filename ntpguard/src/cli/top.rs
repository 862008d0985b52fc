//! `ntpguard top`: shows the top senders of rejected packets.

use std::process::ExitCode;

use anyhow::Result;
use ipnet::IpNet;
use ntpguard::api::{
    events::{Top, TopSender, WOULD_DROP},
    protocol::{Reply, Request},
};

use super::{
    args::{GuardArgs, JsonArgs},
    ask::{no_daemon, question, unexpected},
    output::{self, seconds},
};

/// Most rows of the table; `--json` has all.
const ROWS: usize = 20;

pub(crate) async fn run(guard: &GuardArgs, args: &JsonArgs) -> Result<ExitCode> {
    let top = match question(guard, &Request::Top).await? {
        Some(Reply::Top(top)) => top,
        Some(other) => return unexpected(&other),
        None => return no_daemon(guard),
    };
    if args.json {
        output::json(&top)?;
    } else {
        output::print(&text(&top))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(top: &Top) -> String {
    if top.senders.is_empty() {
        return "no rejected packets recently\n".to_owned();
    }
    let (monitored, dropped): (Vec<_>, Vec<_>) = top
        .senders
        .iter()
        .partition(|sender| sender.verdict == WOULD_DROP);
    let mut parts = Vec::new();
    if !dropped.is_empty() {
        parts.push(table(&dropped));
    }
    if !monitored.is_empty() {
        let passed = table(&monitored);
        parts.push(format!("Passed, in monitor mode:\n{passed}"));
    }
    parts.join("\n")
}

fn table(senders: &[&TopSender]) -> String {
    let headings = ["SENDER", "REASON", "PACKETS", "AT LEAST", "LAST"];
    let rows = senders.iter().take(ROWS).map(|sender| row(sender));
    output::table(&headings, rows) + &output::rest(senders.len(), ROWS)
}

fn row(sender: &TopSender) -> Vec<String> {
    vec![
        address(&sender.source),
        sender.reason.clone(),
        sender.packets.to_string(),
        sender.packets.saturating_sub(sender.error).to_string(),
        seconds(sender.seconds_ago),
    ]
}

/// A single address without its length.
fn address(prefix: &IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() {
        prefix.addr().to_string()
    } else {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(source: &str) -> TopSender {
        TopSender {
            source: source.parse().unwrap(),
            verdict: "dropped".to_owned(),
            reason: "header-chain".to_owned(),
            packets: 18_446_744_073,
            error: 1_000,
            seconds_ago: 100,
        }
    }

    #[test]
    fn everything_fits_eighty_columns() {
        let longest = sender("2001:db8:1234:5678::/64");
        let senders = vec![sender("192.0.2.1/32"); ROWS];
        let top = Top {
            schema: 1,
            senders: [vec![longest; 2], senders].concat(),
        };
        let text = text(&top);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.contains("192.0.2.1 "), "{text}");
        assert!(text.contains("18446743073"), "{text}");
        assert!(text.ends_with("and 2 more with --json\n"), "{text}");
    }

    #[test]
    fn what_monitor_mode_passed_stands_apart() {
        let monitored = TopSender {
            verdict: WOULD_DROP.to_owned(),
            ..sender("192.0.2.2/32")
        };
        let of = |senders| text(&Top { schema: 1, senders });
        let both = of(vec![monitored.clone(), sender("192.0.2.1/32")]);
        let lines: Vec<&str> = both.lines().collect();
        assert!(lines[1].starts_with("192.0.2.1 "), "{both}");
        assert_eq!(lines[2..4], ["", "Passed, in monitor mode:"], "{both}");
        assert!(lines[5].starts_with("192.0.2.2 "), "{both}");
        assert!(of(vec![monitored]).starts_with("Passed, in monitor mode"));
    }
}
