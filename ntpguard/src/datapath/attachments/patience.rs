//! How often the same thing is repaired: not against somebody who means it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::difference::Repairable;

/// How long after the first repair the second may come, and how long after each later one the next.
const WAITS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

/// The repairs in [`WINDOW`] after which a thing is left as it is.
const MOST: usize = 3;

/// How long a repair counts.
const WINDOW: Duration = Duration::from_secs(600);

/// What to do about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Decision {
    /// Repair it.
    Repair,
    /// Later, if it is still there.
    Wait,
    /// Nothing, and this is the first time that it is left.
    GiveUp,
    /// Nothing.
    Leave,
}

/// What was tried, thing by thing.
#[derive(Debug, Default)]
pub(in crate::datapath) struct Patience(BTreeMap<Repairable, Tries>);

#[derive(Debug, Default)]
struct Tries {
    /// When it was repaired.
    repaired: Vec<Instant>,
    /// How often in a row that failed.
    failed: usize,
    /// Before then it is not tried again.
    not_before: Option<Instant>,
    is_left: bool,
}

impl Patience {
    /// What to do about a thing that is not as it should be.
    pub(in crate::datapath) fn decide(&mut self, thing: &Repairable, now: Instant) -> Decision {
        let Some(tries) = self.0.get_mut(thing) else {
            return Decision::Repair;
        };
        tries.forget(now);
        if tries.is_left {
            return Decision::Leave;
        }
        if tries.repaired.len() >= MOST {
            tries.is_left = true;
            return Decision::GiveUp;
        }
        match tries.not_before {
            Some(moment) if now < moment => Decision::Wait,
            _ => Decision::Repair,
        }
    }

    /// Notes that it was repaired.
    pub(in crate::datapath) fn repaired(&mut self, thing: Repairable, now: Instant) {
        let tries = self.0.entry(thing).or_default();
        tries.forget(now);
        tries.repaired.push(now);
        tries.failed = 0;
        tries.not_before = Some(now + wait_after(tries.repaired.len()));
    }

    /// Notes that it could not be repaired.
    pub(in crate::datapath) fn failed(&mut self, thing: Repairable, now: Instant) {
        let tries = self.0.entry(thing).or_default();
        tries.failed += 1;
        tries.not_before = Some(now + wait_after(tries.failed));
    }

    /// Whether a thing is left as it is.
    pub(in crate::datapath) fn leaves(&self, thing: &Repairable) -> bool {
        self.0.get(thing).is_some_and(|tries| tries.is_left)
    }

    /// Takes what differs now; says which things had been left and are well again.
    pub(in crate::datapath) fn well(
        &mut self,
        differing: &BTreeSet<Repairable>,
        now: Instant,
    ) -> Vec<Repairable> {
        let mut well = Vec::new();
        self.0.retain(|thing, tries| {
            tries.forget(now);
            if differing.contains(thing) {
                return true;
            }
            if tries.is_left {
                well.push(thing.clone());
                return false;
            }
            !tries.repaired.is_empty()
        });
        well
    }
}

impl Tries {
    fn forget(&mut self, now: Instant) {
        self.repaired
            .retain(|moment| now.saturating_duration_since(*moment) < WINDOW);
    }
}

fn wait_after(times: usize) -> Duration {
    WAITS[times.saturating_sub(1).min(WAITS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::Hook;

    const THING: Repairable = Repairable::Hook(3, Hook::Egress);

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    /// What is decided second by second while somebody undoes every repair at once.
    fn against_an_adversary(patience: &mut Patience, start: Instant, until: u64) -> Vec<u64> {
        let mut repairs = Vec::new();
        for second in 0..until {
            let now = start + seconds(second);
            if patience.decide(&THING, now) == Decision::Repair {
                patience.repaired(THING, now);
                repairs.push(second);
            }
        }
        repairs
    }

    #[test]
    fn it_is_repaired_at_once_after_5_s_after_a_minute_and_then_left() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let repairs = against_an_adversary(&mut patience, start, 2_000);
        assert_eq!(repairs, [0, 5, 65]);
        assert!(patience.leaves(&THING));
        assert_eq!(
            patience.decide(&THING, start + seconds(9_000)),
            Decision::Leave
        );
    }

    #[test]
    fn it_is_given_up_once_and_found_well_once() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        against_an_adversary(&mut patience, start, 66);
        assert_eq!(
            patience.decide(&THING, start + seconds(67)),
            Decision::GiveUp
        );
        assert_eq!(
            patience.decide(&THING, start + seconds(68)),
            Decision::Leave
        );
        let differing = BTreeSet::from([THING]);
        assert_eq!(patience.well(&differing, start + seconds(69)), []);
        assert_eq!(
            patience.well(&BTreeSet::new(), start + seconds(70)),
            [THING]
        );
        assert_eq!(patience.well(&BTreeSet::new(), start + seconds(71)), []);
        assert_eq!(
            patience.decide(&THING, start + seconds(72)),
            Decision::Repair
        );
    }

    #[test]
    fn repairs_that_are_long_ago_do_not_count() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        for number in 0..20 {
            let now = start + seconds(number * 300);
            assert_eq!(patience.decide(&THING, now), Decision::Repair, "{number}");
            patience.repaired(THING, now);
            assert_eq!(patience.well(&BTreeSet::new(), now + seconds(3)), []);
        }
    }

    #[test]
    fn what_cannot_be_repaired_is_tried_again_and_again_each_minute() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let mut tries = Vec::new();
        for second in 0..200 {
            let now = start + seconds(second);
            if patience.decide(&THING, now) == Decision::Repair {
                patience.failed(THING, now);
                tries.push(second);
            }
        }
        assert_eq!(tries, [0, 5, 65, 125, 185]);
    }

    #[test]
    fn things_are_counted_apart() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        against_an_adversary(&mut patience, start, 100);
        let other = Repairable::Hook(3, Hook::Ingress);
        assert_eq!(patience.decide(&other, start), Decision::Repair);
        assert_eq!(patience.decide(&Repairable::Pins, start), Decision::Repair);
    }
}
