//! Looking for trusted senders while the guard runs: off the event loop, as that walks /proc.

use std::path::Path;

use crate::{
    offload::{DEADLINE, Offload, Outcome},
    reconciler::{Reconciler, discovery::hanging},
    sources::{Place, Problem, Severity},
    trust::{Blind, Found, Senders, Untrusted},
};

/// The name of the thread that looks, and of the finding where it hangs.
const THREAD: &str = "ntpguard-trust";

/// The look under way.
pub(super) struct Finding {
    work: Offload<Found>,
    /// Whether there is to be another one after it.
    again: bool,
}

impl Finding {
    pub(super) const fn new() -> Self {
        Self {
            work: Offload::new(THREAD),
            again: false,
        }
    }

    /// Looks for the first time; where that hangs, there are none at first.
    pub(super) async fn first(&mut self, senders: &Senders) -> Found {
        self.begin(senders);
        self.work.within(DEADLINE).await.unwrap_or_default()
    }

    /// Looks now, or after the look under way, which may have missed what is new.
    pub(super) fn begin(&mut self, senders: &Senders) {
        let senders = senders.clone();
        self.again = !self.work.start(move || senders.find());
    }

    /// What comes of it next.
    pub(super) async fn next(&mut self) -> Outcome<Found> {
        self.work.next().await
    }

    /// Takes that: the senders that were found, if they were.
    pub(super) fn take(
        &mut self,
        outcome: Outcome<Found>,
        senders: &Senders,
        reconciler: &mut Reconciler,
    ) -> Option<Found> {
        if outcome == Outcome::Overdue {
            let problem = hanging(Path::new("/proc"), "searching for trusted senders");
            reconciler.hangs.insert(THREAD, problem);
            return None;
        }
        if self.again {
            self.begin(senders);
        }
        reconciler.hangs.remove(THREAD);
        match outcome {
            Outcome::Done(found) => Some(found),
            Outcome::Overdue | Outcome::Lost => None,
        }
    }
}

/// What keeps senders from being seen, for `status`.
pub(super) fn problems(found: &Found) -> Vec<Problem> {
    let problem = |blind: &Blind| Problem {
        place: Place {
            file: blind.place().into(),
            line: 0,
            column: 0,
        },
        message: blind.to_string(),
        severity: if blind.blinds() {
            Severity::Error
        } else {
            Severity::Note
        },
    };
    found.blind.iter().map(problem).collect()
}

/// Tells of senders that are trusted from now on, and of those that are not any more.
pub(super) fn report_senders(found: &Found, before: &Found) {
    let gone = before.blind.iter().filter(|it| !found.blind.contains(it));
    // A service may end and start again as often as it likes: `status` has what is so.
    for blind in gone.filter(|it| !matches!(it, Blind::Processes(_))) {
        tracing::info!("resolved: {blind}");
    }
    for (number, sender) in &found.trusted_senders {
        if !before.trusted_senders.contains_key(number) {
            tracing::info!("trusted: {} ({})", sender.cgroup.display(), sender.why);
        }
    }
    for Untrusted { daemon, refusal } in &found.untrusted {
        if !before.untrusted.iter().any(|known| known.daemon == *daemon) {
            tracing::warn!(
                "{daemon} is not trusted, so it gets replies from granted servers only: \
                 {refusal}; {}",
                refusal.cure()
            );
        }
    }
    for (number, sender) in &before.trusted_senders {
        if !found.trusted_senders.contains_key(number) {
            tracing::info!("gone: {}", sender.cgroup.display());
        }
    }
}
