//! The judge on random frames.

use ntpguard_common::{
    fixtures::{NOW, StoppedClocks, WINDOW, tables, untracked},
    maps::rates::Rates,
    reason::{Reason, Verdict},
    rule::{
        arrival::judge_unusual,
        decide::screen,
        fast_path::{Arriving, arriving, is_plainly_foreign, known},
        judge::judge as verdict,
        outbound::track,
        policy::{Learn, Policy},
        stages::Inline,
        track::request,
    },
    wire::packet::{Link, OnNtpPort, Packet, parse},
};

use crate::targets::arranged;

/// A frame that leaves, and one that comes in twice after it, which stands behind the one that
/// leaves, whose length the input says.
///
/// # Panics
/// Where the judge is wrong, as a fuzz target is meant to.
pub fn judge(bytes: &[u8]) {
    let Some((how, length, frames)) = arranged::<(u8, u8, &[u8])>(bytes) else {
        return;
    };
    let (leaving, coming) = frames.split_at(frames.len().min(length.into()));
    let policy = policy(how);
    fast_path(leaving, coming, policy.link);

    let tables = tables();
    let clocks = StoppedClocks(NOW);
    track(leaving, || how & 0x40 != 0, &clocks, policy, &tables);
    let first = verdict(coming, &clocks, policy, &tables);
    let second = verdict(coming, &clocks, policy, &tables);
    if policy.track && first == Verdict::Judged(Reason::Server) {
        assert_ne!(second, first, "one request, two replies");
    }
}

/// Whatever the fast path finds, the slow path finds as well.
fn fast_path(leaving: &[u8], coming: &[u8], link: Link) {
    let tables = tables();
    if is_plainly_foreign(leaving, link, &tables) {
        assert_eq!(request(leaving, link, &tables), None);
    }
    let slow = judge_unusual(&Inline {
        frame: coming,
        clocks: &StoppedClocks(NOW),
        policy: untracked(link),
        tables: &tables,
    });
    match arriving(coming, link, &tables) {
        Arriving::Foreign => assert_eq!(slow, Verdict::Foreign),
        Arriving::Stranger => assert_eq!(slow, Verdict::Judged(Reason::Unlisted)),
        Arriving::Private => assert_eq!(slow, Verdict::Judged(Reason::Private)),
        Arriving::Known => {
            let (datagram, part) = known(coming, link);
            assert_eq!(parse(coming, link, &OnNtpPort), Packet::Datagram(datagram));
            assert_eq!(screen(coming, &datagram, link, false, &tables), Ok(part));
        }
        Arriving::Unusual => {}
    }
}

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
