//! `ntpguard top`: who sends most of what is not admitted.

use std::process::ExitCode;

use anyhow::Result;
use ipnet::IpNet;
use ntpguard::{
    daemon::{
        control,
        protocol::{Reply, Request},
    },
    report::events::{Top, TopSender},
};

use super::{
    args::{GuardArgs, TopArgs},
    ask::{no_daemon, unexpected},
    output::{self, seconds},
};

/// Most rows of the table; `--json` has all.
const ROWS: usize = 20;

pub(crate) async fn run(guard: &GuardArgs, args: &TopArgs) -> Result<ExitCode> {
    let socket = control::socket_path(&guard.state_dir);
    let top = match control::ask(&socket, &Request::Top).await? {
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
        return "nobody has sent what is not admitted, of late\n".to_owned();
    }
    let headings = ["SENDER", "VERDICT", "REASON", "PACKETS", "AT LEAST", "LAST"];
    let rows = top.senders.iter().take(ROWS).map(row);
    output::table(&headings, rows) + &output::rest(top.senders.len(), ROWS)
}

fn row(sender: &TopSender) -> Vec<String> {
    vec![
        address(&sender.source),
        sender.verdict.clone(),
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
            verdict: "would drop".to_owned(),
            reason: "header-chain".to_owned(),
            // What a CPU drops in ten minutes.
            packets: 9_446_744_073,
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
        assert!(text.contains("9446743073"), "{text}");
        assert!(text.ends_with("and 2 more with --json\n"), "{text}");
    }
}
