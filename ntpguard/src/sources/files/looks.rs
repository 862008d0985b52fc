//! How much may be looked at for one configuration: a pattern in it can mean every directory there is.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use crate::sources::budget::Budget;

/// What is left of a budget of looks into directories, and of the time for them.
#[derive(Debug)]
pub(in super::super) struct Looks {
    entries: Cell<usize>,
    time: Cell<Duration>,
    began: Cell<Instant>,
}

impl Looks {
    /// Without an end.
    pub(super) fn endless() -> Self {
        Self::new(usize::MAX, Duration::MAX)
    }

    /// Those of a budget.
    pub(in super::super) fn of(budget: &Budget) -> Self {
        Self::new(budget.entries, budget.work)
    }

    fn new(entries: usize, time: Duration) -> Self {
        Self {
            entries: Cell::new(entries),
            time: Cell::new(time),
            began: Cell::new(Instant::now()),
        }
    }

    /// Does some work with files, and takes its time off.
    pub(in super::super) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.began.set(Instant::now());
        let done = work();
        let took = self.began.get().elapsed();
        self.time.set(self.time.get().saturating_sub(took));
        done
    }

    /// Whether one more directory or entry may be looked at.
    pub(super) fn take(&self) -> bool {
        let left = self.entries.get().checked_sub(1);
        let Some(left) = left.filter(|_| self.began.get().elapsed() < self.time.get()) else {
            self.entries.set(0);
            return false;
        };
        self.entries.set(left);
        true
    }

    /// What is used up.
    pub(in super::super) fn spent(&self) -> Option<&'static str> {
        if self.time.get().is_zero() {
            Some("time for files")
        } else if self.entries.get() == 0 {
            Some("directory entries")
        } else {
            None
        }
    }
}
