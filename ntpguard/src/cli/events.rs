//! `ntpguard events`: follows a sample of verdicts.

use std::{net::IpAddr, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use ntpguard::{
    api::{events::Event, protocol::Reply, status::SCHEMA},
    daemon::{control, subscribers::Following},
    escape,
};
use serde::Serialize;
use tokio::signal;

use super::{
    args::{EventsArgs, GuardArgs},
    ask::{no_daemon, unexpected},
    output::{count, json_line, print_on},
};

pub(crate) async fn run(guard: &GuardArgs, args: &EventsArgs) -> Result<ExitCode> {
    tokio::select! {
        done = follow(guard, args) => done?,
        interrupt = signal::ctrl_c() => interrupt.context("cannot wait for Ctrl-C")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints events until there were enough, or the reader has gone.
async fn follow(guard: &GuardArgs, args: &EventsArgs) -> Result<()> {
    let socket = control::socket_path(&guard.state_dir);
    let Some(mut following) = Following::begin(&socket).await? else {
        return no_daemon(guard);
    };
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let line = match following.next().await? {
            Some(Reply::Following) => {
                tracing::debug!("following");
                continue;
            }
            Some(Reply::Event(event)) if !is_asked_for(&event, args) => continue,
            Some(Reply::Event(event)) => {
                left -= 1;
                if args.json {
                    json_line(&event)?
                } else {
                    text(&event)
                }
            }
            Some(Reply::Missed(events)) => missed(events, args.json)?,
            Some(other) => return unexpected(&other),
            None => bail!("the daemon has stopped: no more events"),
        };
        if !print_on(&(line + "\n"))? {
            break;
        }
    }
    Ok(())
}

fn is_asked_for(event: &Event, args: &EventsArgs) -> bool {
    let named = |name: &str| args.reasons.iter().any(|reason| reason.name() == name);
    args.reasons.is_empty() || named(&event.reason)
}

/// What `--json` prints where events were lost on the way here.
#[derive(Serialize)]
struct Missed {
    schema: u32,
    missed: u64,
}

fn missed(events: u64, json: bool) -> Result<String> {
    if json {
        let schema = SCHEMA;
        return json_line(&Missed {
            schema,
            missed: events,
        });
    }
    let number = usize::try_from(events).unwrap_or(usize::MAX);
    let events = count(number, "event", "events");
    Ok(format!(
        "({events} missed: output is slower than events arrive)"
    ))
}

/// A line for people. The time of day is UTC, as in the log.
fn text(event: &Event) -> String {
    let time = event.time.split(['T', '.']).nth(1).unwrap_or(&event.time);
    let mut words = vec![time.to_owned(), event.verdict.clone(), event.reason.clone()];
    if let (Some(source), Some(destination)) = (event.source, event.destination) {
        let from = end(source, event.source_port);
        words.push(format!(
            "{from} > {}",
            end(destination, event.destination_port)
        ));
    }
    if let (Some(mode), Some(version)) = (event.mode, event.version) {
        words.push(format!("mode {mode} v{version}"));
    }
    words.extend(event.length.map(|length| format!("{length} B")));
    words.extend(event.interface.as_deref().map(escape::text));
    if event.more > 0 {
        words.push(format!("+{}", event.more));
    }
    words.join(" ")
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (address, None) => address.to_string(),
        (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            schema: SCHEMA,
            time: "2026-11-25T12:00:01.123Z".to_owned(),
            verdict: "dropped".to_owned(),
            reason: "unlisted".to_owned(),
            interface: Some("eth0".to_owned()),
            source: Some("203.0.113.9".parse().unwrap()),
            source_port: Some(123),
            destination: Some("192.0.2.1".parse().unwrap()),
            destination_port: Some(123),
            length: Some(48),
            version: Some(2),
            mode: Some(7),
            more: 0,
        }
    }

    #[test]
    fn a_line_has_all_of_it() {
        assert_eq!(
            text(&event()),
            "12:00:01 dropped unlisted 203.0.113.9:123 > 192.0.2.1:123 mode 7 v2 48 B eth0"
        );
        let v6 = Event {
            verdict: "would drop".to_owned(),
            source: Some("2001:db8::9".parse().unwrap()),
            destination: Some("2001:db8::1".parse().unwrap()),
            more: 1204,
            ..event()
        };
        assert_eq!(
            text(&v6),
            "12:00:01 would drop unlisted [2001:db8::9]:123 > [2001:db8::1]:123 mode 7 v2 48 B eth0 +1204"
        );
    }

    #[test]
    fn what_the_packet_does_not_carry_is_left_out() {
        let bad = Event {
            reason: "header-chain".to_owned(),
            interface: None,
            source_port: None,
            destination_port: None,
            length: None,
            version: None,
            mode: None,
            ..event()
        };
        assert_eq!(
            text(&bad),
            "12:00:01 dropped header-chain 203.0.113.9 > 192.0.2.1"
        );
        let no_addresses = Event {
            source: None,
            destination: None,
            ..bad
        };
        assert_eq!(text(&no_addresses), "12:00:01 dropped header-chain");
    }

    #[test]
    fn what_was_missed_is_counted() {
        assert_eq!(missed(7, true).unwrap(), r#"{"schema":1,"missed":7}"#);
        assert!(missed(1, false).unwrap().starts_with("(1 event missed"));
    }
}
