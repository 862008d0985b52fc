//! Broadcasts to NTP's groups.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};
use ntpguard_common::{reason::Reason, wire::ntp};
use ntpguard_tests::{
    guard::Guard,
    lab::Lab,
    packets::{
        frame::{self, Ethernet},
        ntp::Message,
        raw::RawSocket,
        recorder::Recorder,
    },
    wait::eventually,
};

use super::{STRANGER, STRANGER_V6, edit, with_config};

const SOON: Duration = Duration::from_secs(5);

/// How long nothing is to pass.
const QUIET: Duration = Duration::from_millis(200);

/// 224.0.1.1, and `ff0X::101` of every scope that leaves a host (RFC 5905 section 3.1).
const GROUPS: [&str; 5] = [
    "224.0.1.1",
    "ff02::101",
    "ff05::101",
    "ff08::101",
    "ff0e::101",
];

/// Where other things are sent.
const OTHERS: [&str; 3] = ["224.0.0.1", "224.0.1.2", "ff02::1"];

const SENDERS: [&str; 2] = ["192.0.2.13", "2001:db8:1::13"];

/// The Ethernet address of a group (RFC 1112 section 6.4, RFC 2464 section 7).
const fn mac(group: IpAddr) -> [u8; 6] {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            [0x01, 0, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }
}

fn broadcast(lab: &Lab, from: &str, group: &str) -> Result<Vec<u8>> {
    let (from, group): (IpAddr, IpAddr) = (from.parse()?, group.parse()?);
    let packet = frame::udp(
        SocketAddr::new(from, ntp::PORT),
        SocketAddr::new(group, ntp::PORT),
        &Message::new(4, 5).to_vec(),
    )?;
    let ethernet = Ethernet {
        from: lab.outside.port.mac,
        to: mac(group),
        tags: &[],
    };
    Ok(ethernet.wrap(&packet))
}

fn of_family<'a>(hosts: [&'a str; 2], group: &str) -> &'a str {
    let [v4, v6] = hosts;
    if group.contains(':') { v6 } else { v4 }
}

/// Sends a broadcast, which must be counted for `reason`.
fn is_judged(
    lab: &Lab,
    guard: &Guard,
    wire: &RawSocket,
    from: &str,
    group: &str,
    reason: Reason,
) -> Result<()> {
    let counted = guard.counters()?.enforced(reason);
    wire.send(&broadcast(lab, from, group)?)?;
    eventually(SOON, "a broadcast's being counted", || {
        let counts = guard.counters()?;
        let grown = counts.enforced(reason) == counted + 1;
        ensure!(grown, "{from} to {group} is not {reason}: {counts:?}");
        Ok(())
    })
}

#[test]
fn a_broadcaster_may_send_to_ntps_groups_and_to_no_others() -> Result<()> {
    let lab = Lab::new()?;
    let guard = with_config(&lab, "", &[])?;
    for sender in SENDERS {
        edit(&lab, guard.home(), &["add", sender, "--role", "broadcast"])?;
    }
    let wire = RawSocket::open(&lab.outside.port)?;
    // It sees what the guard lets pass; a socket would have to join each group.
    let passing = Recorder::open(&lab.inside.port)?;
    let strangers = [STRANGER, STRANGER_V6];
    let sent = GROUPS
        .map(|group| (SENDERS, group, Reason::Broadcast))
        .into_iter()
        .chain(GROUPS.map(|group| (strangers, group, Reason::Unlisted)))
        .chain(OTHERS.map(|group| (SENDERS, group, Reason::Mode)));
    for (from, group, reason) in sent {
        is_judged(&lab, &guard, &wire, of_family(from, group), group, reason)?;
    }
    // Those of the broadcasters to the groups are all that passed, in the order they were sent.
    for group in GROUPS {
        let passed = passing.next(SOON, |datagram| datagram.from.port() == ntp::PORT)?;
        let expected: [IpAddr; 2] = [of_family(SENDERS, group).parse()?, group.parse()?];
        ensure!(
            [passed.from.ip(), passed.to.ip()] == expected,
            "{passed:?} passed, not {expected:?}"
        );
    }
    let more = passing.next(QUIET, |datagram| datagram.from.port() == ntp::PORT);
    ensure!(more.is_err(), "{more:?} passed as well");
    Ok(())
}

/// Groups that a file has `multicastclient` for.
const LISTENED: [&str; 2] = ["239.1.2.3", "ff05::1234"];

#[test]
fn multicastclient_admits_its_groups_from_broadcasters_alone() -> Result<()> {
    let lab = Lab::new()?;
    let config = format!("multicastclient {}\n", LISTENED.join(" "));
    let guard = with_config(&lab, &config, &[])?;
    for sender in SENDERS {
        edit(&lab, guard.home(), &["add", sender, "--role", "broadcast"])?;
    }
    let wire = RawSocket::open(&lab.outside.port)?;
    let passing = Recorder::open(&lab.inside.port)?;
    let strangers = [STRANGER, STRANGER_V6];
    let sent = LISTENED
        .map(|group| (SENDERS, group, Reason::Broadcast))
        .into_iter()
        .chain(LISTENED.map(|group| (strangers, group, Reason::Mode)))
        .chain(OTHERS.map(|group| (SENDERS, group, Reason::Mode)));
    for (from, group, reason) in sent {
        is_judged(&lab, &guard, &wire, of_family(from, group), group, reason)?;
    }
    for group in LISTENED {
        let passed = passing.next(SOON, |datagram| datagram.from.port() == ntp::PORT)?;
        ensure!(passed.to.ip() == group.parse::<IpAddr>()?, "{passed:?}");
    }
    let more = passing.next(QUIET, |datagram| datagram.from.port() == ntp::PORT);
    ensure!(more.is_err(), "{more:?} passed as well");
    Ok(())
}
