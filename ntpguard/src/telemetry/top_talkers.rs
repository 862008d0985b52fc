//! Who sends most, as far as a fixed number of counters can tell.
//!
//! Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k
//! Elements in Data Streams", ICDT 2005): whoever has no counter takes over the smallest one, with
//! its count for an error. So of everything counted, no more than a share of one in [`COUNTERS`] can
//! be attributed wrongly, and whoever sends a larger share than that has a counter, whatever else
//! comes.

use std::{cmp::Reverse, time::Duration};

use ipnet::IpNet;
use ntpguard_common::reason::Reason;

use crate::datapath::Mode;

/// How many senders are kept.
pub const COUNTERS: usize = 256;

/// How often all counts are halved, so that they tell of now.
pub const HALF_LIFE: Duration = Duration::from_secs(300);

/// What is counted apart from all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// An IPv4 address or an IPv6 /64, which one host can have to itself.
    pub source: IpNet,
    /// Why his packets are not admitted.
    pub reason: Reason,
    /// Whether they were dropped for that.
    pub mode: Mode,
}

/// A sender, and packets of his for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Whose they are, and of which kind.
    pub kind: Kind,
    /// How many they are at most.
    pub packets: u64,
    /// How many of these may be others'.
    pub error: u64,
    /// When the last of them was seen, nanoseconds of monotonic time.
    pub last: u64,
}

/// The sketch. Times are nanoseconds of monotonic time.
#[derive(Clone, Debug)]
pub struct Senders {
    counters: Vec<Sender>,
    /// When the counts were last halved.
    halved: u64,
}

impl Senders {
    /// An empty one.
    pub fn new(now: u64) -> Self {
        Self {
            counters: Vec::with_capacity(COUNTERS),
            halved: now,
        }
    }

    /// Counts packets of a sender.
    pub fn count(&mut self, kind: Kind, packets: u64, now: u64) {
        self.age(now);
        let is_same = |sender: &&mut Sender| sender.kind == kind;
        if let Some(sender) = self.counters.iter_mut().find(is_same) {
            sender.packets = sender.packets.saturating_add(packets);
            sender.last = sender.last.max(now);
            return;
        }
        let mut sender = Sender {
            kind,
            packets,
            error: 0,
            last: now,
        };
        if self.counters.len() < COUNTERS {
            self.counters.push(sender);
        } else if let Some(least) = self.counters.iter_mut().min_by_key(|sender| sender.packets) {
            sender.packets = packets.saturating_add(least.packets);
            sender.error = least.packets;
            *least = sender;
        }
    }

    /// Those who are known to have sent something, the most first.
    pub fn top(&mut self, now: u64) -> Vec<Sender> {
        self.age(now);
        let mut top: Vec<Sender> = self
            .counters
            .iter()
            .filter(|sender| sender.packets > sender.error)
            .copied()
            .collect();
        top.sort_by_key(|sender| {
            let certain = sender.packets - sender.error;
            (Reverse(certain), sender.kind)
        });
        top
    }

    fn age(&mut self, now: u64) {
        let half_life = u64::try_from(HALF_LIFE.as_nanos()).unwrap_or(u64::MAX);
        let halvings = now.saturating_sub(self.halved) / half_life;
        if halvings == 0 {
            return;
        }
        self.halved += halvings * half_life;
        let halve = |count: u64| {
            u32::try_from(halvings)
                .ok()
                .and_then(|by| count.checked_shr(by))
        };
        for sender in &mut self.counters {
            sender.packets = halve(sender.packets).unwrap_or(0);
            sender.error = halve(sender.error).unwrap_or(0);
        }
        self.counters.retain(|sender| sender.packets > 0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn unlisted(number: u32) -> Kind {
        Kind {
            source: IpNet::new_assert(std::net::Ipv4Addr::from(number).into(), 32),
            reason: Reason::Unlisted,
            mode: Mode::Enforce,
        }
    }

    fn half_lives(count: u64) -> u64 {
        u64::try_from(HALF_LIFE.as_nanos()).unwrap() * count
    }

    #[test]
    fn the_most_comes_first_and_reasons_and_modes_are_apart() {
        let mut senders = Senders::new(0);
        let private = Kind {
            reason: Reason::Private,
            ..unlisted(1)
        };
        let monitored = Kind {
            mode: Mode::Monitor,
            ..unlisted(1)
        };
        senders.count(unlisted(1), 3, 10);
        senders.count(unlisted(2), 7, 20);
        senders.count(private, 5, 30);
        senders.count(monitored, 6, 35);
        senders.count(unlisted(1), 1, 40);
        let top: Vec<_> = senders
            .top(50)
            .iter()
            .map(|sender| (sender.kind, sender.packets, sender.last))
            .collect();
        assert_eq!(
            top,
            [
                (unlisted(2), 7, 20),
                (monitored, 6, 35),
                (private, 5, 30),
                (unlisted(1), 4, 40),
            ]
        );
    }

    #[test]
    fn what_is_past_fades() {
        let mut senders = Senders::new(0);
        senders.count(unlisted(1), 1000, 0);
        assert_eq!(senders.top(half_lives(1))[0].packets, 500);
        senders.count(unlisted(2), 600, half_lives(1));
        assert_eq!(senders.top(half_lives(1))[0].kind, unlisted(2));
        assert_eq!(senders.top(half_lives(3))[0].packets, 150);
        assert!(senders.top(half_lives(100)).is_empty());
    }

    #[test]
    fn a_flood_of_forged_addresses_hides_nobody_and_grows_nothing() {
        let mut senders = Senders::new(0);
        let room = senders.counters.capacity();
        for number in 0..100_000_u32 {
            senders.count(unlisted(number.wrapping_mul(2_654_435_761) | 1), 1, 0);
            if number % 20 == 0 {
                senders.count(unlisted(0), 1, 0);
            }
        }
        let top = senders.top(0);
        assert_eq!(top[0].kind, unlisted(0), "{:?}", &top[..3]);
        assert!(top[0].packets - top[0].error > 4_000, "{:?}", top[0]);
        assert_eq!(
            (senders.counters.len(), senders.counters.capacity()),
            (COUNTERS, room)
        );
    }

    proptest! {
        /// The bounds hold for everybody, and whoever sends more than his share is there.
        #[test]
        fn bounds_hold(packets in prop::collection::vec((0_u32..600, 1_u64..50), 1..3000)) {
            let mut senders = Senders::new(0);
            let mut truth = BTreeMap::<Kind, u64>::new();
            for (number, count) in packets {
                // The low numbers are much more frequent.
                let kind = unlisted(number * number / 600);
                senders.count(kind, count, 0);
                *truth.entry(kind).or_default() += count;
            }
            let total: u64 = truth.values().sum();
            prop_assert_eq!(senders.counters.iter().map(|sender| sender.packets).sum::<u64>(), total);
            for sender in &senders.counters {
                let sent = truth[&sender.kind];
                prop_assert!(sent <= sender.packets && sent >= sender.packets - sender.error);
                prop_assert!(sender.error <= total / COUNTERS as u64);
            }
            for (kind, sent) in truth {
                let has_counter = senders.counters.iter().any(|sender| sender.kind == kind);
                prop_assert!(has_counter || sent <= total / COUNTERS as u64);
            }
        }
    }
}
