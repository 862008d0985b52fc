//! How often clients may ask: token buckets of a number each, found by a keyed hash.
//!
//! A bucket is the moment at which it will be full again (the generic cell rate algorithm, ITU-T
//! I.371): a packet moves that moment on by the time a token takes to come back, and is too many
//! where it would lie further ahead than a full bucket lasts. One number is read and written whole
//! by every kernel; two CPUs that charge one bucket at the same time may charge it once, so that at
//! worst a client gets as many packets more as there are CPUs.

use crate::judge::{Clocks, NANOSECONDS};

/// Buckets for clients. An address has always the same, and may share it with others.
pub const CLIENT_BUCKETS: u32 = 65_536;

/// All buckets: that of everybody together comes first.
pub const RATES_SIZE: u32 = 1 + CLIENT_BUCKETS;

/// The number of everybody's bucket.
const TOTAL: u32 = 0;

/// One packet in so many is let through beyond the rate: who forges a client's address can make it
/// wait, and not shut it out. As chrony's `ratelimit` does with its `leak` of 2.
pub const LET_THROUGH: u64 = 4;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time in which a token comes back, nanoseconds; 0 for no limit.
    pub interval: u64,
    /// The time in which an empty bucket fills up, nanoseconds.
    pub window: u64,
}

impl Rate {
    /// No limit.
    pub const OFF: Self = Self {
        interval: 0,
        window: 0,
    };

    /// So many packets a second, and as many at once as come in so many seconds; 0 packets for no
    /// limit.
    pub const fn per_second(packets: u32, seconds: u32) -> Self {
        if packets == 0 {
            return Self::OFF;
        }
        Self {
            interval: NANOSECONDS / packets as u64,
            window: NANOSECONDS * seconds as u64,
        }
    }

    /// Whether there is no limit.
    #[inline(always)]
    pub const fn is_off(self) -> bool {
        self.interval == 0
    }
}

/// The limits for clients, and the key by which they are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// For each address, an IPv6 client being taken to have a /64.
    pub client: Rate,
    /// For all clients together.
    pub total: Rate,
    /// Makes the buckets of addresses unknown to whoever does not know it.
    pub key: [u64; 2],
}

impl Rates {
    /// No limits.
    pub const OFF: Self = Self {
        client: Rate::OFF,
        total: Rate::OFF,
        key: [0; 2],
    };

    /// Packets a second for each address: a thousand hosts behind one address that poll every 64 s
    /// are a quarter of it. ntpd and chrony, where they limit at all, allow one in 8 s.
    pub const CLIENT: u32 = 64;

    /// How many seconds' worth an address may send at once: the iburst of a hundred hosts behind it.
    pub const CLIENT_SECONDS: u32 = 16;

    /// Packets a second for all clients: more than one time daemon answers on one core.
    pub const TOTAL: u32 = 250_000;

    /// How many seconds' worth of that may come at once.
    pub const TOTAL_SECONDS: u32 = 1;

    /// Packets a second for each address and for all, 0 for no limit.
    pub const fn per_second(client: u32, total: u32, key: [u64; 2]) -> Self {
        Self {
            client: Rate::per_second(client, Self::CLIENT_SECONDS),
            total: Rate::per_second(total, Self::TOTAL_SECONDS),
            key,
        }
    }

    /// Whether nothing is limited.
    #[inline(always)]
    pub const fn is_off(&self) -> bool {
        self.client.is_off() && self.total.is_off()
    }

    /// Whether a packet of a client is within the rates or let through all the same. `spend` takes
    /// a token out of the bucket of a number, if it has one. The precise clock is read for chance
    /// alone, beyond the rate.
    ///
    /// What an attacker could find out with patience is which addresses share a bucket; it is worth
    /// nothing to one who can forge an address, and so also the victim's own. Thus a cheap mixing
    /// function (`MurmurHash3`'s, with a key) does, and chance is made of the same.
    #[inline(always)]
    pub fn admit<C: Clocks>(
        &self,
        client: u64,
        clocks: &C,
        spend: impl Fn(u32, Rate) -> bool,
    ) -> bool {
        let hash = mix(client, self.key);
        let bucket = 1 + (hash % u64::from(CLIENT_BUCKETS)) as u32;
        let within = (self.client.is_off() || spend(bucket, self.client))
            && (self.total.is_off() || spend(TOTAL, self.total));
        within || mix(hash ^ clocks.boot(), self.key).is_multiple_of(LET_THROUGH)
    }
}

impl Default for Rates {
    /// The usual limits, with a key that everybody knows: for trials.
    fn default() -> Self {
        Self::per_second(Self::CLIENT, Self::TOTAL, [0; 2])
    }
}

/// Spreads a word over all 64 bits, in a way that only the key tells.
#[inline(always)]
const fn mix(word: u64, [first, second]: [u64; 2]) -> u64 {
    let word = (word ^ first).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let word = (word ^ (word >> 33) ^ second).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

/// A token bucket: the value of the `RATES` map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket {
    /// When it is full again, nanoseconds of monotonic time.
    pub full_at: u64,
}

impl Bucket {
    /// Takes a token out, if there is one.
    #[inline(always)]
    pub const fn spend(&mut self, now: u64, rate: Rate) -> bool {
        let from = if self.full_at > now {
            self.full_at
        } else {
            now
        };
        let full_at = from + rate.interval;
        if full_at - now > rate.window {
            return false;
        }
        self.full_at = full_at;
        true
    }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), one integer, valid for every bit pattern.
    unsafe impl aya::Pod for super::Bucket {}
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, vec::Vec};
    use core::cell::RefCell;

    use super::*;
    use crate::fixtures::StoppedClocks;

    const RATE: Rate = Rate::per_second(10, 2);

    #[test]
    fn a_full_bucket_holds_its_seconds_worth_and_refills_at_its_rate() {
        let mut bucket = Bucket::default();
        let mut now = 5 * NANOSECONDS;
        let spent = (0..100).filter(|_| bucket.spend(now, RATE)).count();
        assert_eq!(spent, 20);
        now += NANOSECONDS / 10 - 1;
        assert!(!bucket.spend(now, RATE));
        now += 1;
        assert!(bucket.spend(now, RATE));
        assert!(!bucket.spend(now, RATE));
        now += 3_600 * NANOSECONDS;
        assert_eq!((0..100).filter(|_| bucket.spend(now, RATE)).count(), 20);
    }

    #[test]
    fn a_steady_client_within_its_rate_is_never_limited() {
        let mut bucket = Bucket::default();
        assert!((0..10_000).all(|poll| bucket.spend(poll * RATE.interval, RATE)));
    }

    #[test]
    fn beyond_the_rate_one_in_four_is_let_through() {
        for key in [[0, 0], [1, 2], [u64::MAX, 7]] {
            let rates = Rates::per_second(1, 0, key);
            let admitted = (0..100_000_u64)
                .filter(|now| rates.admit(0xc000_0201, &StoppedClocks(*now), |_, _| false))
                .count();
            assert!((24_000..26_000).contains(&admitted), "{admitted}");
        }
    }

    /// The buckets that the addresses of a /16 are charged to.
    fn buckets(key: [u64; 2]) -> Vec<u32> {
        let rates = Rates::per_second(1, 0, key);
        let charged = RefCell::new(Vec::new());
        for client in 0x0a00_0000..0x0a01_0000_u64 {
            rates.admit(client, &StoppedClocks(0), |number, _| {
                charged.borrow_mut().push(number);
                true
            });
        }
        charged.into_inner()
    }

    #[test]
    fn clients_are_spread_over_the_buckets_as_the_key_decides() {
        let one = buckets([1, 2]);
        let distinct: BTreeSet<_> = one.iter().copied().collect();
        assert!(
            distinct
                .iter()
                .all(|number| (1..RATES_SIZE).contains(number))
        );
        // As many as a random function has it: 1 - 1/e of 65,536.
        assert!(
            (40_800..42_200).contains(&distinct.len()),
            "{}",
            distinct.len()
        );
        for key in [[1, 3], [2, 2], [0, 0]] {
            let other = buckets(key);
            let same = one.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(same < 20, "{same} with {key:?}");
        }
    }

    #[test]
    fn each_limit_can_be_off() {
        let only = |client, total| {
            let asked = RefCell::new(BTreeSet::new());
            let rates = Rates::per_second(client, total, [0; 2]);
            rates.admit(7, &StoppedClocks(0), |number, _| {
                asked.borrow_mut().insert(number == TOTAL)
            });
            (rates.is_off(), asked.into_inner())
        };
        assert_eq!(only(0, 0), (true, [].into()));
        assert_eq!(only(1, 0), (false, [false].into()));
        assert_eq!(only(0, 1), (false, [true].into()));
        assert_eq!(only(1, 1), (false, [false, true].into()));
    }
}
