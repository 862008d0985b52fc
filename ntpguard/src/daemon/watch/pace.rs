//! How many events are listened to. Who may write in a directory that is watched can make them faster than
//! anything could look at them.

use std::time::Duration;

use tokio::time::Instant;

/// The most events that are looked at in [`PERIOD`]. An upgrade of packages makes some hundreds.
pub(super) const MOST: usize = 1_024;

/// The time for which events are counted.
const PERIOD: Duration = Duration::from_secs(1);

/// How long nothing is listened to after too many events, at first.
const FIRST_REST: Duration = Duration::from_secs(1);

/// How long at most, where the events do not cease.
const LONGEST_REST: Duration = Duration::from_secs(8);

/// The events of the last period, and the rest from them.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    taken: usize,
    rest: Duration,
    until: Option<Instant>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            taken: 0,
            rest: FIRST_REST,
            until: None,
        }
    }

    /// Counts an event; says whether it is one too many, after which there is a rest.
    pub(super) fn is_exceeded(&mut self, now: Instant) -> bool {
        if now.duration_since(self.began) >= PERIOD {
            (self.began, self.taken) = (now, 0);
        }
        self.taken += 1;
        let is_exceeded = self.taken > MOST;
        if is_exceeded {
            self.until = Some(now + self.rest);
        }
        is_exceeded
    }

    /// Until when nothing is listened to.
    pub(super) const fn resting_until(&self) -> Option<Instant> {
        self.until
    }

    /// Ends the rest in which so many events came; after too many, another one begins, a longer one.
    pub(super) fn wake(&mut self, came: usize, now: Instant) {
        if came > MOST {
            self.rest = (self.rest * 2).min(LONGEST_REST);
            self.until = Some(now + self.rest);
        } else {
            *self = Self::new(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_follows_too_many_events_and_a_longer_one_where_they_do_not_cease() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!((0..MOST).all(|_| !pace.is_exceeded(start)));
        let later = start + PERIOD;
        assert!(
            (0..MOST).all(|_| !pace.is_exceeded(later)),
            "another second"
        );
        assert!(pace.is_exceeded(later));
        assert_eq!(pace.resting_until(), Some(later + FIRST_REST));
        pace.wake(MOST + 1, later);
        assert_eq!(pace.resting_until(), Some(later + 2 * FIRST_REST));
        (0..9).for_each(|_| pace.wake(MOST + 1, later));
        assert_eq!(pace.resting_until(), Some(later + LONGEST_REST));
        pace.wake(MOST, later);
        assert_eq!(pace.resting_until(), None);
        assert!(!pace.is_exceeded(later));
    }
}
