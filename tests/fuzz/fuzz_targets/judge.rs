//! The judge: a frame that leaves, and one that comes in twice after it. A frame that comes in stands
//! behind one that leaves, whose length the input says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_common::{
    fixtures::{NOW, StoppedClocks, WINDOW, tables},
    maps::rates::Rates,
    reason::{Reason, Verdict},
    rule::{
        judge::judge,
        outbound::track,
        policy::{Learn, Policy},
    },
    wire::packet::Link,
};

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (how, length, frames) = input;
    let (leaving, coming) = frames.split_at(frames.len().min(length.into()));
    let tables = tables();
    let policy = policy(how);
    let clocks = StoppedClocks(NOW);
    track(leaving, || how & 0x40 != 0, &clocks, policy, &tables);
    let first = judge(coming, &clocks, policy, &tables);
    let second = judge(coming, &clocks, policy, &tables);
    if policy.track && first == Verdict::Judged(Reason::Server) {
        assert_ne!(second, first, "one request, two replies");
    }
});

fn policy(how: u8) -> Policy {
    Policy {
        link: if how & 1 == 0 {
            Link::Ethernet
        } else {
            Link::RawIp
        },
        track: how & 2 == 0,
        window: WINDOW,
        learn: match how & 0xc {
            0 => Learn::Trusted,
            4 => Learn::Off,
            _ => Learn::Any,
        },
        zero_transmit: how & 0x10 != 0,
        rates: if how & 0x20 == 0 {
            Rates::OFF
        } else {
            Rates::default()
        },
    }
}
