//! One look at all processes, for all who want to know. A user may start thousands, and each look at them
//! costs.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

use super::{Finding, Namespace, Processes, Table, TimeDaemon, proof::Doubt};

/// A look that costs less processor time is repeated whenever somebody asks.
const CHEAP: Duration = Duration::from_millis(10);

/// How many times as long as it took a look counts: all looks together take 2 % of a processor at most.
const TIMES: u32 = 50;

/// How long it counts at most.
const LONGEST: Duration = Duration::from_secs(20);

/// Namespaces of a process, in the order of [`Namespace::ALL`].
type Namespaces = Vec<Option<PathBuf>>;

/// What was found of all processes.
#[derive(Debug, Default)]
pub(super) struct Scan {
    ours: Namespaces,
    daemons: Vec<TimeDaemon>,
    /// What keeps others from being so, and where these are; `None` where that may not be read.
    doubts: BTreeSet<(Finding, Option<Namespaces>)>,
    is_hidden: bool,
    is_closed: bool,
    refused: Option<String>,
}

impl Scan {
    /// Looks at all processes that `proc` shows.
    pub(super) fn of(proc: &Path) -> Self {
        let table = Table::of(proc);
        let mut scan = Self {
            is_hidden: table.is_hidden(),
            is_closed: table.is_closed(),
            ..Self::default()
        };
        let candidates = table.candidates().unwrap_or_else(|error| {
            scan.refused = Some(error.to_string());
            Vec::new()
        });
        for pid in candidates {
            match table.daemon(pid) {
                Ok(daemon) => scan.daemons.push(daemon),
                Err(Doubt::Finding(finding)) => {
                    scan.doubt(finding, table.namespaces_of(pid));
                }
                Err(Doubt::Refused(why)) => scan.refused = Some(why),
                Err(Doubt::None) => {}
            }
        }
        scan.daemons.sort_by_key(|daemon| daemon.pid);
        scan.ours = table.ours;
        scan
    }

    fn doubt(&mut self, finding: Finding, namespaces: io::Result<Namespaces>) {
        let place = match namespaces {
            Ok(its) => Some(its),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
            // It has ended.
            Err(_) => return,
        };
        self.doubts.insert((finding, place));
    }

    /// What matters of that to one who cares for the processes that share these namespaces with this one.
    pub(super) fn within(&self, shared: &[Namespace]) -> Processes {
        let is_within = |its: &Namespaces| Namespace::are_shared(&self.ours, its, shared);
        let daemons = self.daemons.iter();
        let daemons = daemons.filter(|daemon| is_within(&daemon.surroundings.namespaces));
        let doubts = self.doubts.iter();
        let doubts = doubts.filter(|(_, its)| its.as_ref().is_none_or(is_within));
        let mut findings: BTreeSet<Finding> = doubts.map(|(finding, _)| finding.clone()).collect();
        if self.is_hidden {
            findings.insert(Finding::Hidden);
        }
        if self.is_closed && !findings.iter().any(Finding::blinds) {
            findings.insert(Finding::Closed);
        }
        Processes {
            daemons: daemons.cloned().collect(),
            findings,
            refused: self.refused.clone(),
        }
    }
}

/// The last look, shared by all who ask.
pub(super) struct Last(Mutex<Option<Look>>);

struct Look {
    scan: Arc<Scan>,
    at: Instant,
    cost: Duration,
}

impl Look {
    /// Whether it still counts.
    fn counts(&self) -> bool {
        let lasts = (self.cost * TIMES).min(LONGEST);
        self.cost >= CHEAP && self.at.elapsed() < lasts
    }
}

impl Last {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The last look, if it still counts, or else another one. Those who ask meanwhile wait for it.
    pub(super) fn get(&self, look: impl FnOnce() -> Scan) -> Arc<Scan> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|last| last.counts()) {
            return Arc::clone(&last.scan);
        }
        let began = processor_time();
        let scan = Arc::new(look());
        let cost = processor_time().saturating_sub(began);
        // One that was refused is no answer to the next who asks.
        *last = scan.refused.is_none().then(|| Look {
            scan: Arc::clone(&scan),
            at: Instant::now(),
            cost,
        });
        scan
    }
}

/// What this thread has cost: the time that passes says little where others are busy.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often is looked where one look costs this and is asked for so many times.
    fn looks(cost: Duration, refused: Option<&str>) -> u32 {
        let (last, looks) = (Last::new(), Cell::new(0));
        for _ in 0..5 {
            last.get(|| {
                looks.set(looks.get() + 1);
                let began = processor_time();
                while processor_time().saturating_sub(began) < cost {
                    std::hint::spin_loop();
                }
                Scan {
                    refused: refused.map(str::to_owned),
                    ..Scan::default()
                }
            });
        }
        looks.get()
    }

    #[test]
    fn a_look_that_costs_is_shared_and_a_cheap_one_is_repeated() {
        assert_eq!(looks(2 * CHEAP, None), 1);
        assert_eq!(looks(Duration::ZERO, None), 5);
        assert_eq!(looks(2 * CHEAP, Some("no more files")), 5);
    }

    #[test]
    fn a_look_counts_no_longer_than_its_cost_allows() {
        let look = |cost, ago| Look {
            scan: Arc::default(),
            at: Instant::now().checked_sub(ago).unwrap(),
            cost,
        };
        assert!(look(2 * CHEAP, CHEAP).counts());
        assert!(!look(2 * CHEAP, 2 * TIMES * CHEAP).counts());
        assert!(!look(LONGEST, LONGEST).counts());
    }
}
