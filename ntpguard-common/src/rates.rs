//! How often clients may ask: token buckets of a number each, found by a keyed hash.
//!
//! A bucket is the moment at which it will be full again (the generic cell rate algorithm, ITU-T
//! I.371): a packet moves that moment on by the time a token takes to come back, and is too many
//! where it would lie further ahead than a full bucket lasts.
//!
//! CPUs share buckets without a lock. They move the moment on by an atomic addition, which every
//! kernel has (compare and swap takes Linux 5.12), so that each admitted packet is charged: those
//! that look at the same time may take a token too many each, and the next ones wait for it. Only
//! where a bucket is full is the moment written anew, and a charge of that instant may be lost.

use crate::judge::{Clocks, NANOSECONDS};

/// Buckets for clients. An address has always the same, and may share it with others.
pub const CLIENT_BUCKETS: u32 = 65_536;

/// All buckets: that of everybody together comes first.
pub const RATES_SIZE: u32 = 1 + CLIENT_BUCKETS;

/// The number of everybody's bucket.
const TOTAL: u32 = 0;

/// One packet in so many is let through beyond the rate of its address: who forges a client's address
/// can make it wait, and not shut it out. As chrony's `ratelimit` does with its `leak` of 2.
pub const LET_THROUGH: u64 = 4;

/// How many times the rate of an address may be let through beyond it.
pub const MOST_LET_THROUGH: u64 = 16;

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

    /// What may be let through beyond this rate, a second's worth of it at once.
    #[inline(always)]
    const fn beyond(self) -> Self {
        Self {
            interval: self.interval / MOST_LET_THROUGH,
            window: NANOSECONDS,
        }
    }

    /// The same rate, of which half a bucket is kept for others.
    #[inline(always)]
    const fn leaving_half(self) -> Self {
        Self {
            interval: self.interval,
            window: self.window / 2,
        }
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

    /// Whether a packet of a client is admitted. `bucket` finds the bucket of a number.
    ///
    /// The client's own rate comes first, and what it refuses costs nobody else a token. The rate of
    /// all is charged for every packet that is admitted, and obeyed; what is beyond its client's rate
    /// finds only half of that bucket, so that a flood in one client's name leaves the rest to others.
    ///
    /// What an attacker could find out with patience is which addresses share a bucket; it is worth
    /// nothing to one who can forge an address, and so also the victim's own. Thus a cheap mixing
    /// function (`MurmurHash3`'s, with a key) does, and chance is made of the same.
    #[inline(always)]
    pub fn admit<C: Clocks, M: Moment>(
        &self,
        client: u64,
        clocks: &C,
        bucket: impl Fn(u32) -> Option<Moments<M>>,
    ) -> bool {
        let total = match self.standing(client, clocks, &bucket) {
            Standing::Within => self.total,
            Standing::LetThrough => self.total.leaving_half(),
            Standing::Beyond => return false,
        };
        if total.is_off() {
            return true;
        }
        bucket(TOTAL).is_none_or(|bucket| spend(&bucket.full_at, clocks.tick(), total))
    }

    #[inline(always)]
    fn standing<C: Clocks, M: Moment>(
        &self,
        client: u64,
        clocks: &C,
        bucket: impl Fn(u32) -> Option<Moments<M>>,
    ) -> Standing {
        if self.client.is_off() {
            return Standing::Within;
        }
        let hash = mix(client, self.key);
        let Some(bucket) = bucket(1 + (hash % u64::from(CLIENT_BUCKETS)) as u32) else {
            return Standing::Within;
        };
        let now = clocks.tick();
        if spend(&bucket.full_at, now, self.client) {
            return Standing::Within;
        }
        // The precise clock takes longer than all this: it is read for chance alone, and not where
        // there is nothing to win.
        let beyond = self.client.beyond();
        if has_token(&bucket.beyond_full_at, now, beyond)
            && mix(hash ^ clocks.boot(), self.key).is_multiple_of(LET_THROUGH)
            && spend(&bucket.beyond_full_at, now, beyond)
        {
            return Standing::LetThrough;
        }
        Standing::Beyond
    }
}

/// What a client's own rate says of its packet.
enum Standing {
    /// It is within the rate.
    Within,
    /// It is not, and may be admitted all the same.
    LetThrough,
    /// It is not.
    Beyond,
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

/// A client's token buckets, or everybody's: the value of the `RATES` map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket {
    /// When it is full again, nanoseconds of monotonic time.
    pub full_at: u64,
    /// When the bucket is full again from which packets beyond the rate are let through; 0 in
    /// everybody's, which lets none through.
    pub beyond_full_at: u64,
}

/// A moment in a [`Bucket`], which other CPUs may change at any time.
pub trait Moment {
    /// What it is now.
    fn get(&self) -> u64;

    /// Writes it anew, whatever others do.
    fn set(&self, to: u64);

    /// Moves it on by so much, along with what others do.
    fn advance(&self, by: u64);
}

/// The moments in a [`Bucket`], by the names that they have there.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each field is named for the bucket's")]
pub struct Moments<M> {
    pub full_at: M,
    pub beyond_full_at: M,
}

/// Whether there is a token.
#[inline(always)]
fn has_token<M: Moment>(full_at: &M, now: u64, rate: Rate) -> bool {
    full_at.get().saturating_sub(now) + rate.interval <= rate.window
}

/// Takes a token out, if there is one.
#[inline(always)]
fn spend<M: Moment>(full_at: &M, now: u64, rate: Rate) -> bool {
    let until = full_at.get();
    if until <= now {
        if rate.interval > rate.window {
            return false;
        }
        full_at.set(now + rate.interval);
        return true;
    }
    if until - now + rate.interval > rate.window {
        return false;
    }
    full_at.advance(rate.interval);
    true
}

#[cfg(test)]
mod tests {
    extern crate std;

    use alloc::{
        collections::{BTreeMap, BTreeSet},
        rc::Rc,
        vec::Vec,
    };
    use core::{
        cell::{Cell, RefCell},
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::fixtures::{ModelBucket, StoppedClocks};

    const RATE: Rate = Rate::per_second(10, 2);
    const CLIENT: u64 = 0xc000_0201;

    /// Buckets that are full at first.
    #[derive(Default)]
    struct Buckets(RefCell<BTreeMap<u32, ModelBucket>>);

    impl Buckets {
        fn admits(&self, rates: &Rates, client: u64, now: u64) -> bool {
            rates.admit(client, &StoppedClocks(now), |number| {
                let mut buckets = self.0.borrow_mut();
                Some(buckets.entry(number).or_default().moments())
            })
        }

        /// How many of so many requests a second of a client are admitted in each of some seconds.
        fn flood(&self, rates: &Rates, client: u64, per_second: u64, seconds: u64) -> Vec<u64> {
            (1..=seconds)
                .map(|second| {
                    (0..per_second)
                        .map(|number| second * NANOSECONDS + number * NANOSECONDS / per_second)
                        .filter(|now| self.admits(rates, client, *now))
                        .count() as u64
                })
                .collect()
        }
    }

    fn bucket() -> Rc<Cell<u64>> {
        Rc::default()
    }

    #[test]
    fn a_full_bucket_holds_its_seconds_worth_and_refills_at_its_rate() {
        let bucket = bucket();
        let mut now = 5 * NANOSECONDS;
        let spent = (0..100).filter(|_| spend(&bucket, now, RATE)).count();
        assert_eq!(spent, 20);
        now += NANOSECONDS / 10 - 1;
        assert!(!has_token(&bucket, now, RATE) && !spend(&bucket, now, RATE));
        now += 1;
        assert!(has_token(&bucket, now, RATE) && spend(&bucket, now, RATE));
        assert!(!spend(&bucket, now, RATE));
        now += 3_600 * NANOSECONDS;
        assert_eq!((0..100).filter(|_| spend(&bucket, now, RATE)).count(), 20);
    }

    #[test]
    fn a_steady_client_within_its_rate_is_never_limited() {
        let bucket = bucket();
        assert!((0..10_000).all(|poll| spend(&bucket, poll * RATE.interval, RATE)));
    }

    #[test]
    fn what_is_kept_for_others_is_half_a_bucket() {
        let bucket = bucket();
        let half = RATE.leaving_half();
        assert_eq!((0..100).filter(|_| spend(&bucket, 7, half)).count(), 10);
        assert_eq!((0..100).filter(|_| spend(&bucket, 7, RATE)).count(), 10);
    }

    #[test]
    fn beyond_the_rate_one_in_four_is_let_through_up_to_sixteen_times_the_rate() {
        let most = 64 * (1 + MOST_LET_THROUGH);
        for key in [[0, 0], [1, 2], [u64::MAX, 7]] {
            let rates = Rates::per_second(64, 0, key);
            for (per_second, share) in [(1_064, 250), (2_064, 500), (3_064, 750)] {
                let admitted = Buckets::default().flood(&rates, CLIENT, per_second, 30);
                let let_through = admitted[29] - 64;
                assert!(
                    (share * 9 / 10..=share * 11 / 10).contains(&let_through),
                    "{let_through} of {per_second}"
                );
            }
            for per_second in [10_000, 50_000] {
                let admitted = Buckets::default().flood(&rates, CLIENT, per_second, 10);
                assert!(
                    (most * 9 / 10..=most + 2).contains(&admitted[9]),
                    "{admitted:?}"
                );
            }
        }
    }

    #[test]
    fn the_rate_of_all_holds_whatever_the_flood_is() {
        const ALL: u64 = 1_000;
        for client_rate in [0, 1, 64] {
            let rates = Rates::per_second(client_rate, ALL as u32, [3, 4]);
            let buckets = Buckets::default();
            let mut admitted = Vec::new();
            for second in 1..=10 {
                let mut in_second = 0;
                for number in 0..50_000 {
                    let now = second * NANOSECONDS + number * NANOSECONDS / 50_000;
                    in_second += u64::from(buckets.admits(&rates, number % 3_000, now));
                }
                admitted.push(in_second);
            }
            // In the first second a full bucket comes on top.
            assert!(admitted[0] <= 2 * ALL + 1, "{admitted:?}");
            assert!(
                admitted[1..].iter().all(|count| *count <= ALL + 1),
                "{admitted:?}"
            );
            assert!(admitted[9] > ALL * 9 / 10, "{admitted:?}");
        }
    }

    #[test]
    fn a_flood_in_one_clients_name_costs_others_nothing() {
        // What one address is let through is all but what is allowed to all.
        let rates = Rates::per_second(64, 1_100, [5, 6]);
        let buckets = Buckets::default();
        for number in 0..200_000 {
            let now = NANOSECONDS + number * NANOSECONDS / 20_000;
            buckets.admits(&rates, CLIENT, now);
            // A hundred others ask once a second each.
            if number % 200 == 0 {
                assert!(buckets.admits(&rates, 1 + number / 200 % 100, now));
            }
        }
    }

    #[test]
    fn what_is_refused_costs_no_token_of_all() {
        let rates = Rates::per_second(1, 100, [7, 8]);
        let buckets = Buckets::default();
        let now = NANOSECONDS;
        let admitted = (0..100_000)
            .filter(|_| buckets.admits(&rates, CLIENT, now))
            .count();
        let others = (0..1_000)
            .filter(|other| buckets.admits(&rates, *other, now))
            .count();
        assert_eq!(admitted + others, 100);
        assert!(others >= 50, "{admitted} of the one");
    }

    /// A moment that CPUs share.
    impl Moment for &AtomicU64 {
        fn get(&self) -> u64 {
            self.load(Ordering::Relaxed)
        }

        fn set(&self, to: u64) {
            self.store(to, Ordering::Relaxed);
        }

        fn advance(&self, by: u64) {
            self.fetch_add(by, Ordering::Relaxed);
        }
    }

    #[test]
    fn cpus_that_race_take_a_token_too_many_each_at_most() {
        const CPUS: usize = 4;
        const TICKS: u64 = 2_000;
        const RATE: Rate = Rate::per_second(100_000, 1);
        let (bucket, now) = (&AtomicU64::new(0), &AtomicU64::new(NANOSECONDS));
        let admitted: u64 = std::thread::scope(|scope| {
            let cpus: Vec<_> = (0..CPUS)
                .map(|_| {
                    scope.spawn(move || {
                        let mut admitted = 0;
                        loop {
                            let now = now.load(Ordering::Relaxed);
                            if now > NANOSECONDS + TICKS * NANOSECONDS / 1_000 {
                                return admitted;
                            }
                            admitted += u64::from(spend(&bucket, now, RATE));
                        }
                    })
                })
                .collect();
            for _ in 0..=TICKS {
                std::thread::sleep(core::time::Duration::from_micros(50));
                now.fetch_add(NANOSECONDS / 1_000, Ordering::Relaxed);
            }
            cpus.into_iter().map(|cpu| cpu.join().unwrap()).sum()
        });
        // A full bucket and two seconds' worth.
        let most = 100_000 + TICKS * 100 + 100 + CPUS as u64;
        // On a busy machine the last ones may be left.
        assert!(
            (most * 9 / 10..=most).contains(&admitted),
            "{admitted} of {most}"
        );
    }

    /// The buckets that the addresses of a /16 are charged to.
    fn buckets(key: [u64; 2]) -> Vec<u32> {
        let rates = Rates::per_second(1, 0, key);
        let charged = RefCell::new(Vec::new());
        for client in 0x0a00_0000..0x0a01_0000_u64 {
            rates.admit(client, &StoppedClocks(0), |number| {
                charged.borrow_mut().push(number);
                Some(ModelBucket::default().moments())
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
            rates.admit(7, &StoppedClocks(0), |number| {
                asked.borrow_mut().insert(number == TOTAL);
                Some(ModelBucket::default().moments())
            });
            (rates.is_off(), asked.into_inner())
        };
        assert_eq!(only(0, 0), (true, [].into()));
        assert_eq!(only(1, 0), (false, [false].into()));
        assert_eq!(only(0, 1), (false, [true].into()));
        assert_eq!(only(1, 1), (false, [false, true].into()));
    }
}
