//! Asks the running daemons which sources they use, again and again, and never waits for them.

use std::{future::pending, path::Path, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use super::complaints::Complaints;
use crate::{
    clock::BootSeconds,
    offload::{Offload, Outcome},
    processes::TimeDaemon,
    query::{self, Heard},
    readers::Readers,
    reconciler::{Reconciler, discovery::hanging},
};

/// The name of the thread that looks for daemons, and of the finding where it hangs.
const THREAD: &str = "ntpguard-find";

/// How often they are asked.
const EVERY: Duration = Duration::from_secs(10);

/// How long a start waits for them to be found, and for what they say: those that run answer at once.
const FIRST: Duration = Duration::from_millis(200);

/// The round that is under way, or the next.
pub(super) struct Poller {
    /// First, the daemons that run are looked for.
    looking: Offload<Vec<TimeDaemon>>,
    /// Then they are asked.
    asking: Option<BoxFuture<'static, Vec<Heard>>>,
    next: Instant,
    complaints: Complaints,
    readers: Readers,
}

/// A step of a round.
pub(super) enum Step {
    /// The looking has come to this.
    Looked(Outcome<Vec<TimeDaemon>>),
    /// They have said this.
    Heard(Vec<Heard>),
}

impl Poller {
    /// Rounds of which the first is due.
    pub(super) fn new(readers: Readers) -> Self {
        Self {
            looking: Offload::new(THREAD),
            asking: None,
            next: Instant::now(),
            complaints: Complaints::default(),
            readers,
        }
    }

    /// When there is something to begin.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_idle = self.asking.is_none() && !self.looking.is_busy();
        is_idle.then_some(self.next)
    }

    /// Begins a round, if it is time; says whether it did.
    pub(super) fn begin_if_due(&mut self) -> bool {
        if self.due().is_none_or(|due| due > Instant::now()) {
            return false;
        }
        self.looking.start(query::running);
        self.next = Instant::now() + EVERY;
        true
    }

    /// Has the next round begin now.
    pub(super) fn refresh_now(&mut self) {
        self.next = Instant::now();
    }

    /// The next step of the round under way, for ever where there is none.
    pub(super) async fn step(&mut self) -> Step {
        if let Some(asking) = &mut self.asking {
            let heard = asking.await;
            self.asking = None;
            return Step::Heard(heard);
        }
        if self.looking.is_busy() {
            return Step::Looked(self.looking.next().await);
        }
        pending().await
    }

    /// Goes on from there.
    pub(super) fn take(&mut self, reconciler: &mut Reconciler, step: Step) {
        match step {
            Step::Heard(heard) => take(reconciler, heard, &mut self.complaints),
            Step::Looked(Outcome::Done(running)) => {
                reconciler.hangs.remove(THREAD);
                let channels = reconciler.book.channels();
                self.asking = Some(Box::pin(query::ask(
                    self.readers.clone(),
                    channels,
                    running,
                )));
            }
            Step::Looked(Outcome::Overdue) => {
                let problem = hanging(Path::new("/proc"), "searching for time daemons");
                reconciler.hangs.insert(THREAD, problem);
            }
            Step::Looked(Outcome::Lost) => {}
        }
    }

    /// What is wrong with each daemon that does not say what it uses.
    pub(super) fn complaints(&self) -> &Complaints {
        &self.complaints
    }
}

/// Asks once, before anything is guarded, and takes no complaint: the next round follows.
pub(super) async fn first(reconciler: &mut Reconciler, readers: &Readers) {
    let mut looking = Offload::new(THREAD);
    looking.start(query::running);
    let Some(running) = looking.within(FIRST).await else {
        return;
    };
    let asking = query::ask(readers.clone(), reconciler.book.channels(), running);
    if let Ok(heard) = timeout(FIRST, asking).await {
        let answers = heard.into_iter().filter(|(_, answer)| answer.is_ok());
        take(reconciler, answers.collect(), &mut Complaints::default());
    }
}

fn take(reconciler: &mut Reconciler, heard: Vec<Heard>, complaints: &mut Complaints) {
    let now = BootSeconds::now();
    for (daemon, answer) in heard {
        complaints.hear(daemon, &answer);
        reconciler.book.heard(daemon, answer.ok().flatten(), now);
    }
}
