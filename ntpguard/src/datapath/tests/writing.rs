//! The tables: written by differences, full, and fast enough.

use std::{collections::BTreeSet, time::Instant};

use ntpguard_common::{
    maps::tables::{EXPLAIN_BASE, names},
    reason::Reason,
    wire::packet::Link,
};

use super::harness::{deny, framed, reply, server, servers};
use crate::{
    allowlist::projection::Projection,
    datapath::{Changes, Mode, Settings, Tracking, Trial, maps::apply::Cause},
};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

fn trial(table_size: u32) -> Trial {
    Trial::new(Settings {
        table_size,
        tracking: Tracking::OFF,
        ..Settings::default()
    })
    .unwrap()
}

fn verdict(trial: &mut Trial, source: &str) -> u32 {
    trial.run(&framed(&reply(source)), 1).unwrap().return_value
}

#[test]
fn what_is_applied_is_read_back_and_only_differences_are_written() {
    let mut trial = trial(64);
    let first = servers(&[
        "192.0.2.1",
        "192.0.2.2",
        "2001:db8::1",
        "198.51.100.0/24",
        "2001:db8:1::/48",
    ]);
    let tables = trial.tables();
    let done = tables.apply(&Projection::default(), &first).unwrap();
    assert_eq!(
        done,
        Changes {
            added: 5,
            changed: 0,
            removed: 0
        }
    );
    assert_eq!(tables.read().unwrap(), first);

    let mut second = servers(&[
        "192.0.2.1",
        "192.0.2.3",
        "198.51.100.0/25",
        "2001:db8:1::/48",
    ]);
    second
        .addresses
        .insert("192.0.2.1".parse().unwrap(), deny());
    let done = tables.apply(&first, &second).unwrap();
    assert_eq!(
        done,
        Changes {
            added: 2,
            changed: 1,
            removed: 3
        }
    );
    assert_eq!(tables.read().unwrap(), second);
    assert_eq!(tables.apply(&second, &second).unwrap(), Changes::default());
}

#[test]
fn a_granted_server_passes_and_others_are_dropped_and_counted() {
    let mut trial = trial(64);
    trial
        .tables()
        .apply(&Projection::default(), &servers(&["192.0.2.1"]))
        .unwrap();
    assert_eq!(verdict(&mut trial, "192.0.2.1"), XDP_PASS);
    assert_eq!(verdict(&mut trial, "192.0.2.9"), XDP_DROP);
    let repeated = trial.run(&framed(&reply("192.0.2.9")), 100).unwrap();
    assert!(repeated.duration.as_micros() < 1000, "{repeated:?}");
    let counters = trial.tables().counters(Mode::Enforce).unwrap();
    assert_eq!((counters.server, counters.unlisted), (1, 101));
    let monitored = trial.tables().counters(Mode::Monitor).unwrap();
    assert_eq!(monitored.unlisted, 0);
}

#[test]
fn monitor_mode_passes_everything_and_counts_apart() {
    let mut trial = Trial::new(Settings {
        mode: Mode::Monitor,
        tracking: Tracking::OFF,
        ..Settings::default()
    })
    .unwrap();
    assert_eq!(verdict(&mut trial, "192.0.2.9"), XDP_PASS);
    assert_eq!(trial.tables().counters(Mode::Monitor).unwrap().unlisted, 1);
    assert_eq!(trial.tables().counters(Mode::Enforce).unwrap().unlisted, 0);
}

#[test]
fn an_explaining_trial_of_a_raw_link_returns_the_reason() {
    let settings = Settings {
        link: Link::RawIp,
        explain: true,
        tracking: Tracking::OFF,
        ..Settings::default()
    };
    let mut trial = Trial::new(settings).unwrap();
    trial
        .tables()
        .apply(&Projection::default(), &servers(&["192.0.2.1"]))
        .unwrap();
    let mut reason = |source| trial.run(&reply(source), 1).unwrap().return_value - EXPLAIN_BASE;
    assert_eq!(reason("192.0.2.1"), Reason::Server as u32);
    assert_eq!(reason("192.0.2.9"), Reason::Unlisted as u32);
}

#[test]
fn prefixes_are_looked_for_from_the_first_to_the_last() {
    let mut trial = trial(64);
    let none = Projection::default();
    let one = servers(&["198.51.100.0/24"]);
    let two = servers(&["198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"]);
    let counts = |trial: &mut Trial| {
        let info = trial.tables().info().unwrap();
        (info.prefixes_v4, info.prefixes_v6)
    };

    assert_eq!(verdict(&mut trial, "198.51.100.7"), XDP_DROP);
    trial.tables().apply(&none, &two).unwrap();
    assert_eq!(counts(&mut trial), (2, 1));
    assert_eq!(verdict(&mut trial, "198.51.100.7"), XDP_PASS);
    trial.tables().apply(&two, &one).unwrap();
    assert_eq!(counts(&mut trial), (1, 0));
    assert_eq!(verdict(&mut trial, "198.51.100.7"), XDP_PASS);
    assert_eq!(verdict(&mut trial, "203.0.113.7"), XDP_DROP);
    trial.tables().apply(&one, &none).unwrap();
    assert_eq!(counts(&mut trial), (0, 0));
    assert_eq!(verdict(&mut trial, "198.51.100.7"), XDP_DROP);
}

#[test]
fn a_denied_address_is_dropped_inside_a_granted_prefix() {
    let mut trial = trial(64);
    let mut wanted = servers(&["198.51.100.0/24"]);
    wanted
        .addresses
        .insert("198.51.100.7".parse().unwrap(), deny());
    trial
        .tables()
        .apply(&Projection::default(), &wanted)
        .unwrap();
    assert_eq!(verdict(&mut trial, "198.51.100.8"), XDP_PASS);
    assert_eq!(verdict(&mut trial, "198.51.100.7"), XDP_DROP);
}

#[test]
fn a_full_table_evicts_nothing_and_says_what_it_holds() {
    let mut trial = trial(4);
    let first = servers(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    trial
        .tables()
        .apply(&Projection::default(), &first)
        .unwrap();

    let wanted = servers(&[
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
        "192.0.2.4",
        "192.0.2.5",
        "2001:db8::5",
    ]);
    let error = trial.tables().apply(&first, &wanted).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("ALLOW_V4") && text.contains("192.0.2.5"),
        "{text}"
    );
    assert!(
        text.contains("holds 4 entries") && text.contains("--table-size 5"),
        "{text}"
    );
    let Cause::Full(full) = &error.cause else {
        panic!("{error:?}")
    };
    assert_eq!(
        (full.len(), full[0].map, full[0].left_out),
        (1, names::ALLOW_V4, 1)
    );
    assert_eq!(
        error.done,
        Changes {
            added: 2,
            changed: 0,
            removed: 0
        }
    );

    let held = trial.tables().read().unwrap();
    assert_eq!(held, error.holds);
    let addresses: BTreeSet<_> = held.addresses.keys().map(ToString::to_string).collect();
    assert!(
        first
            .addresses
            .keys()
            .all(|kept| addresses.contains(&kept.to_string()))
    );
    assert!(addresses.contains("2001:db8::5"), "{addresses:?}");
}

#[test]
fn a_full_trie_is_told_with_what_to_do() {
    let mut trial = trial(2);
    let wanted = servers(&["10.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24"]);
    let error = trial
        .tables()
        .apply(&Projection::default(), &wanted)
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("ALLOW_NET_V4") && text.contains("--table-size 3"),
        "{text}"
    );
    assert_eq!(trial.tables().read().unwrap(), error.holds);
    assert_eq!(trial.tables().info().unwrap().prefixes_v4, 2);
}

#[test]
fn a_full_table_takes_what_removals_make_room_for() {
    let mut trial = trial(2);
    let first = servers(&["192.0.2.1", "192.0.2.2", "10.0.0.0/8", "172.16.0.0/12"]);
    trial
        .tables()
        .apply(&Projection::default(), &first)
        .unwrap();
    let second = servers(&["192.0.2.3", "192.0.2.4", "192.0.0.0/16", "172.16.0.0/13"]);
    let done = trial.tables().apply(&first, &second).unwrap();
    assert_eq!(
        done,
        Changes {
            added: 4,
            changed: 0,
            removed: 4
        }
    );
    assert_eq!(trial.tables().read().unwrap(), second);
}

#[test]
fn ten_thousand_addresses_are_applied_within_a_second() {
    let mut trial = trial(16_384);
    let mut wanted = Projection::default();
    for number in 0..10_000_u32 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number * 7);
        wanted.addresses.insert(address.into(), server());
    }
    let start = Instant::now();
    trial
        .tables()
        .apply(&Projection::default(), &wanted)
        .unwrap();
    let applied = start.elapsed();
    assert!(applied.as_millis() < 1000, "{applied:?}");
    assert_eq!(trial.tables().read().unwrap(), wanted);
}
