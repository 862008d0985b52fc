//! The reading of the sources while the guard runs: off the event loop, one at a time, and again where
//! something was asked for meanwhile.

use std::collections::BTreeSet;

use crate::{
    clock::BootSeconds,
    offload::{Offload, Outcome},
    readers::Readers,
    reconciler::{
        Reconciler,
        discovery::{Progress, Read},
    },
    sources::{
        Severity, Speaker,
        budget::{Budget, LOG_PERIOD},
    },
};

/// The name of the thread that reads, and of the finding where it hangs.
const THREAD: &str = "ntpguard-read";

/// What a reading is to do; what comes later does all that comes before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    #[default]
    Nothing,
    /// Look for sources, and read where there are others than before.
    Look,
    /// Read them all.
    All,
}

/// The reading under way, and what is to follow it.
pub(super) struct Reading {
    work: Offload<Read>,
    progress: Progress,
    wanted: Wanted,
    readers: Readers,
    /// Lines of the log that others may still cause.
    lines: Lines,
    /// Whether the last reading left something out that the next round is to have.
    is_unfinished: bool,
}

impl Reading {
    pub(super) fn new(readers: Readers) -> Self {
        Self {
            readers,
            lines: Lines::default(),
            is_unfinished: false,
            work: Offload::new(THREAD),
            progress: Progress::default(),
            wanted: Wanted::Nothing,
        }
    }

    /// The processes that parse.
    pub(super) const fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Has the sources looked for, and read where there are others than before, or where not all could be
    /// read.
    pub(super) fn look(&mut self) {
        let wanted = if self.is_unfinished {
            Wanted::All
        } else {
            Wanted::Look
        };
        self.wanted = self.wanted.max(wanted);
    }

    /// Has all sources read.
    pub(super) fn read(&mut self) {
        self.wanted = Wanted::All;
    }

    /// Whether what was asked for is done, as far as it can be: what hangs is not waited for.
    pub(super) fn is_done(&self) -> bool {
        if self.work.is_busy() {
            self.work.is_overdue()
        } else {
            self.wanted == Wanted::Nothing
        }
    }

    /// Begins what is wanted, unless a reading is under way.
    pub(super) fn begin(&mut self, reconciler: &Reconciler) {
        if self.wanted == Wanted::Nothing || self.work.is_busy() {
            return;
        }
        let reader = reconciler.reader(&self.readers, self.wanted == Wanted::All);
        self.progress = reader.progress();
        if self.work.start(move || reader.read(BootSeconds::now())) {
            self.wanted = Wanted::Nothing;
        }
    }

    /// What comes of it next.
    pub(super) async fn next(&mut self) -> Outcome<Read> {
        self.work.next().await
    }

    /// Takes that; says whether the sources were read.
    pub(super) fn take(&mut self, reconciler: &mut Reconciler, outcome: Outcome<Read>) -> bool {
        match outcome {
            Outcome::Done(read) => {
                reconciler.hangs.remove(THREAD);
                self.is_unfinished = read.is_unfinished;
                reconciler.take(read, BootSeconds::now())
            }
            Outcome::Overdue => {
                reconciler.hangs.insert(THREAD, self.progress.hangs());
                false
            }
            Outcome::Lost => false,
        }
    }

    /// Reads for the first time; where that hangs, what the state file has counts until it is done.
    pub(super) async fn first(&mut self, reconciler: &mut Reconciler) {
        self.read();
        self.begin(reconciler);
        let outcome = self.next().await;
        self.take(reconciler, outcome);
    }

    /// Logs what is wrong with the sources, except what was said already.
    pub(super) fn report(&mut self, reconciler: &Reconciler, said: &BTreeSet<String>) {
        let of_others: BTreeSet<String> = reconciler
            .book
            .problems_of_others()
            .map(|problem| problem.to_string())
            .collect();
        for problem in reconciler
            .problems()
            .filter(|problem| !said.contains(&problem.to_string()))
            .filter(|problem| !reconciler.book.findings.contains(problem))
        {
            let is_of_others = of_others.contains(&problem.to_string());
            if is_of_others && !self.lines.take(BootSeconds::now()) {
                continue;
            }
            if problem.severity == Severity::Note {
                tracing::info!("{problem}");
            } else {
                tracing::warn!("{problem}");
            }
        }
    }
}

/// Lines of the log about files that are not root's, of which there are so many in a time: to write such a
/// file anew costs nothing.
#[derive(Default)]
struct Lines {
    since: Option<BootSeconds>,
    written: u32,
}

impl Lines {
    fn take(&mut self, now: BootSeconds) -> bool {
        if self
            .since
            .is_none_or(|since| now.since(since) >= LOG_PERIOD)
        {
            self.since = Some(now);
            self.written = 0;
        }
        let most = Budget::of(Speaker::Others).log_lines;
        if self.written == most {
            tracing::warn!(
                "files that users other than root can write have used up their budget of {most} log lines: more is \
                 not logged for {} minutes; `ntpguard status` shows all",
                LOG_PERIOD / 60
            );
        }
        self.written = self.written.saturating_add(1);
        self.written <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_cause_so_many_lines_in_a_time_and_no_more() {
        let most = Budget::of(Speaker::Others).log_lines as usize;
        let mut lines = Lines::default();
        let taken = |lines: &mut Lines, now| {
            let taken = (0..10_000).filter(|_| lines.take(BootSeconds(now)));
            taken.count()
        };
        assert_eq!(taken(&mut lines, 100), most);
        assert_eq!(taken(&mut lines, 99 + LOG_PERIOD), 0);
        assert_eq!(taken(&mut lines, 100 + LOG_PERIOD), most);
    }
}
