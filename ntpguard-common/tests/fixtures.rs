//! Every fixture against the judge, and the fixtures themselves against an independent reading.

use std::{cell::Cell, collections::BTreeSet};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use ntpguard_common::{
    clock::Clocks,
    fixtures::{
        self, Described, Fixture, ModelTables, NOW, Step, StoppedClocks, judge_split, untracked,
    },
    reason::{Reason, Verdict},
    rule::{
        judge::judge,
        outbound::track,
        policy::{Learn, Policy},
        track::Tracked,
    },
    wire::packet::Link,
};

fn verdict(fixture: &Fixture) -> Verdict {
    let policy = untracked(fixture.link);
    judge(
        fixture.frame.as_slice(),
        &StoppedClocks(NOW),
        policy,
        &fixtures::tables(),
    )
}

#[test]
fn each_fixture_gets_the_verdict_it_must_get() {
    let tables = fixtures::tables();
    let wrong: Vec<String> = fixtures::all()
        .iter()
        .filter_map(|fixture| {
            let policy = untracked(fixture.link);
            let verdict = judge(
                fixture.frame.as_slice(),
                &StoppedClocks(NOW),
                policy,
                &tables,
            );
            (verdict != fixture.expected)
                .then(|| format!("{}: {verdict:?}, not {:?}", fixture.name, fixture.expected))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} fixtures fail:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Drivers put what they like into the first buffer of a frame, or nothing.
#[test]
fn a_frame_in_several_buffers_gets_the_verdict_of_the_whole() {
    let tables = fixtures::tables();
    for fixture in fixtures::all() {
        for first in 0..=fixture.frame.len().min(100) {
            let verdict = judge_split(
                &fixture.frame,
                first,
                &StoppedClocks(NOW),
                untracked(fixture.link),
                &tables,
            );
            assert_eq!(
                verdict, fixture.expected,
                "{}, the first buffer has {first} bytes",
                fixture.name
            );
        }
    }
}

#[test]
fn no_two_fixtures_share_a_name() {
    let mut names = BTreeSet::new();
    for fixture in fixtures::all() {
        assert!(names.insert(fixture.name.clone()), "{}", fixture.name);
    }
}

#[test]
fn the_kernel_takes_every_fixture_for_a_test_run() {
    for fixture in fixtures::all() {
        assert!(
            (14..=3_000).contains(&fixture.frame.len()),
            "{}",
            fixture.name
        );
    }
}

#[test]
fn every_reason_has_a_fixture() {
    let alone = fixtures::all();
    let alone = alone.iter().filter_map(|fixture| match fixture.expected {
        Verdict::Judged(reason) => Some(reason),
        Verdict::Foreign => None,
    });
    let exchanges = fixtures::exchanges();
    let steps = exchanges.iter().flat_map(|exchange| &exchange.steps);
    let tracked = steps.filter_map(|step| match step {
        Step::Arrives { reason, .. } => Some(*reason),
        Step::Leaves { .. } | Step::Passes(_) | Step::Refused(..) => None,
    });
    let reasons: BTreeSet<Reason> = alone.chain(tracked).collect();
    for reason in Reason::ALL {
        // That is any fixture's whose buffer holds more.
        let has_fixture = reasons.contains(reason) || *reason == Reason::Coalesced;
        assert!(has_fixture, "{reason}");
    }
}

/// The page of reasons has a row for each, with its number, name and verdict, and names it in the order.
#[test]
fn every_reason_is_documented() {
    let page = include_str!("../../docs/reasons.md");
    let order = page.split("Where several hold,").nth(1).unwrap_or_default();
    let order = order.split("\n\n").next().unwrap_or_default();
    for reason in Reason::ALL {
        let verdict = if reason.admits() {
            "admitted"
        } else {
            "dropped"
        };
        let row = format!("| {} | `{reason}` | {verdict} | ", *reason as u32);
        assert!(page.contains(&row), "no row {row}");
        assert_eq!(
            order.contains(&format!("`{reason}`")),
            !reason.admits(),
            "{reason} in the order"
        );
    }
}

/// One that is admitted when it comes alone as much as any other.
#[test]
fn several_datagrams_in_one_buffer_are_dropped_whatever_the_first_is() {
    let mut dropped = 0;
    for fixture in fixtures::all() {
        let tables = fixtures::tables();
        let policy = untracked(fixture.link);
        let frame = Described::coalesced(&fixture.frame);
        let got = judge(&frame, &StoppedClocks(NOW), policy, &tables);
        let expected = fixtures::coalesced(fixture.expected);
        assert!(expected.contains(&got), "{}: {got:?}", fixture.name);
        dropped += usize::from(got == Verdict::Judged(Reason::Coalesced));
    }
    assert!(dropped > 100, "only {dropped} fixtures");
}

/// A buffer of requests is no request: what is behind the first would not be tracked.
#[test]
fn several_datagrams_in_one_buffer_are_noted_for_nothing() {
    let mut requests = 0;
    for exchange in fixtures::exchanges() {
        let tables = fixtures::tables();
        for step in &exchange.steps {
            if let Step::Leaves { frame, tracked, .. } = step {
                let frame = Described::coalesced(frame);
                let got = track(
                    &frame,
                    || true,
                    &StoppedClocks(NOW),
                    exchange.policy,
                    &tables,
                );
                assert_eq!(got, Tracked::Nothing, "{}", exchange.name);
                requests += usize::from(*tracked != Tracked::Nothing);
            }
        }
    }
    assert!(requests > 50, "only {requests} requests");
}

#[test]
fn each_exchange_goes_as_it_must() {
    let mut names = BTreeSet::new();
    for exchange in fixtures::exchanges() {
        assert!(names.insert(exchange.name.clone()), "{}", exchange.name);
        let mut tables = fixtures::tables();
        tables.warm_until = exchange.warm_until;
        let mut now = NOW;
        for (number, step) in exchange.steps.iter().enumerate() {
            let told = format!("{}, step {number}", exchange.name);
            let policy = exchange.policy;
            match step {
                Step::Leaves {
                    frame,
                    trusted,
                    tracked,
                } => {
                    let got = track(
                        frame.as_slice(),
                        || *trusted,
                        &StoppedClocks(now),
                        policy,
                        &tables,
                    );
                    assert_eq!(got, *tracked, "{told}");
                }
                Step::Arrives { frame, reason } => {
                    let got = judge(frame.as_slice(), &StoppedClocks(now), policy, &tables);
                    assert_eq!(got, Verdict::Judged(*reason), "{told}");
                }
                Step::Passes(time) => now += time,
                Step::Refused(server, known) => {
                    assert_eq!(tables.refusals().get(server), known.as_ref(), "{told}");
                }
            }
        }
    }
    assert!(names.len() > 70, "only {} exchanges", names.len());
}

/// Of the fixtures' packets most are no requests, and what they are makes no difference.
#[test]
fn only_requests_to_port_123_are_noted() {
    let policy = Policy {
        track: true,
        learn: Learn::Trusted,
        ..untracked(Link::Ethernet)
    };
    let mut requests = 0;
    for fixture in fixtures::all() {
        let tables = fixtures::tables();
        let policy = Policy {
            link: fixture.link,
            ..policy
        };
        let tracked = track(
            fixture.frame.as_slice(),
            || true,
            &StoppedClocks(NOW),
            policy,
            &tables,
        );
        assert_eq!(
            tracked == Tracked::Trusted,
            tables.learned().len() == 1,
            "{}",
            fixture.name
        );
        requests += usize::from(tracked == Tracked::Trusted);
        let foreign = fixture.expected == Verdict::Foreign;
        assert!(!foreign || tracked == Tracked::Nothing, "{}", fixture.name);
    }
    assert!(requests > 100, "only {requests} are requests");
}

#[test]
fn what_is_admitted_is_whole_ntp_over_udp_to_another_reader() {
    let mut seen = 0;
    for fixture in fixtures::all() {
        if !matches!(fixture.expected, Verdict::Judged(reason) if reason.admits()) {
            continue;
        }
        let frame = without_tags(&fixture);
        let packet = match fixture.link {
            Link::Ethernet => SlicedPacket::from_ethernet(&frame),
            Link::RawIp => SlicedPacket::from_ip(&frame),
        };
        let packet = packet.unwrap_or_else(|error| panic!("{}: {error}", fixture.name));
        let Some(TransportSlice::Udp(udp)) = &packet.transport else {
            panic!("{}: not UDP", fixture.name);
        };
        let ports = [udp.source_port(), udp.destination_port()];
        assert!(
            ports.contains(&123) || ports[0] == fixtures::CUSTOM_PORT,
            "{}",
            fixture.name
        );
        assert!(udp.payload().len() >= 12, "{}", fixture.name);
        assert!(checksum_holds(&packet), "{}", fixture.name);
        seen += 1;
    }
    assert!(seen > 100, "only {seen} fixtures are admitted");
}

/// The other reader knows of three tags at most.
fn without_tags(fixture: &Fixture) -> Vec<u8> {
    let mut frame = fixture.frame.clone();
    while fixture.link == Link::Ethernet && matches!(frame[12..14], [0x81, 0] | [0x88, 0xa8]) {
        frame.drain(12..16);
    }
    frame
}

fn checksum_holds(packet: &SlicedPacket) -> bool {
    let Some(TransportSlice::Udp(udp)) = &packet.transport else {
        return false;
    };
    let right = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => udp
            .to_header()
            .calc_checksum_ipv4(&ip.header().to_header(), udp.payload()),
        Some(NetSlice::Ipv6(ip)) => udp
            .to_header()
            .calc_checksum_ipv6(&ip.header().to_header(), udp.payload()),
        _ => return false,
    };
    right.is_ok_and(|right| right == udp.checksum())
}

#[test]
fn nothing_is_admitted_where_nothing_is_granted() {
    let empty = ModelTables::default();
    for fixture in fixtures::at_123() {
        let policy = untracked(fixture.link);
        // Where no such group is listened to, no packet to it has a class.
        let otherwise = if fixture.name.starts_with("a broadcast to a granted group") {
            Reason::Mode
        } else {
            Reason::Unlisted
        };
        let expected = match verdict(&fixture) {
            Verdict::Judged(reason) if reason.admits() || reason == Reason::Role => {
                Verdict::Judged(otherwise)
            }
            other => other,
        };
        let got = judge(
            fixture.frame.as_slice(),
            &StoppedClocks(NOW),
            policy,
            &empty,
        );
        assert_eq!(got, expected, "{}", fixture.name);
    }
}

/// Of a port that nobody is asked at, what has port 123 at the other end is left to judge.
#[test]
fn other_ports_are_open_where_nobody_is_asked_at_them() {
    let empty = ModelTables::default();
    let mut foreign = 0;
    for fixture in fixtures::all() {
        let policy = untracked(fixture.link);
        let now = StoppedClocks(NOW);
        let judge = |tables| judge(fixture.frame.as_slice(), &now, policy, tables);
        let (granted, bare) = (judge(&fixtures::tables()), judge(&empty));
        assert!(
            !matches!(bare, Verdict::Judged(reason) if reason.admits()),
            "{}",
            fixture.name
        );
        foreign += usize::from(bare == Verdict::Foreign && granted != bare);
    }
    assert!(foreign > 50, "only {foreign} are judged for who is asked");
}

/// Clocks that tell whether they were read.
#[derive(Default)]
struct WatchedClocks {
    read: Cell<bool>,
}

impl Clocks for WatchedClocks {
    fn boot(&self) -> u64 {
        self.read.set(true);
        NOW
    }

    fn tick(&self) -> u64 {
        self.boot()
    }
}

/// Reading one costs as much as everything before it.
#[test]
fn the_clock_is_not_read_for_packets_that_no_grant_is_about() {
    let tables = fixtures::tables();
    let mut readings = 0;
    for fixture in fixtures::all() {
        let clocks = WatchedClocks::default();
        let verdict = judge(
            fixture.frame.as_slice(),
            &clocks,
            untracked(fixture.link),
            &tables,
        );
        let granted = matches!(
            verdict,
            Verdict::Judged(reason) if reason.admits() || reason == Reason::Role
        );
        assert!(granted || !clocks.read.get(), "{}", fixture.name);
        readings += usize::from(clocks.read.get());
    }
    assert!(readings > 0, "no fixture's grant has an end");
}
