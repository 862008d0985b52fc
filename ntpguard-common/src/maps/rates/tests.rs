//! Token buckets, by a clock that the tests set.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    vec::Vec,
};
use core::cell::{Cell, RefCell};

use crate::{
    fixtures::{ModelBucket, StoppedClocks},
    maps::rates::*,
};

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

/// A moment that another CPU moves on just after this one has looked.
struct Raced(Cell<u64>);

impl Moment for Raced {
    fn get(&self) -> u64 {
        let seen = self.0.get();
        self.0.set(seen + RATE.interval);
        seen
    }

    fn set(&self, to: u64) {
        self.0.set(to);
    }

    fn advance(&self, by: u64) {
        self.0.set(self.0.get() + by);
    }
}

#[test]
fn what_another_cpu_charges_meanwhile_is_charged_too() {
    let now = 5 * NANOSECONDS;
    let bucket = Raced(Cell::new(now + RATE.interval));
    assert!(spend(&bucket, now, RATE));
    assert_eq!(bucket.0.get(), now + 3 * RATE.interval);
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
