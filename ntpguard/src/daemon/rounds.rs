//! Asks the running daemons which sources they use, again and again, and never waits for them.

use std::{collections::BTreeMap, future::pending, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use crate::{
    clock::BootSeconds,
    keeper::Keeper,
    live::{self, Heard},
};

/// How often they are asked.
const EVERY: Duration = Duration::from_secs(10);

/// How long a start waits for what they say: those that run answer at once.
const FIRST: Duration = Duration::from_millis(200);

/// The round that is under way, or the next.
pub(super) struct Rounds {
    asking: Option<BoxFuture<'static, Vec<Heard>>>,
    next: Instant,
    complaints: Complaints,
}

impl Rounds {
    /// Rounds of which the first is due.
    pub(super) fn new() -> Self {
        Self {
            asking: None,
            next: Instant::now(),
            complaints: Complaints::default(),
        }
    }

    /// When there is something to begin.
    pub(super) fn due(&self) -> Option<Instant> {
        self.asking.is_none().then_some(self.next)
    }

    /// Looks for daemons and begins to ask them, if it is time; says whether there are other
    /// sources than before.
    pub(super) fn begin_if_due(&mut self, keeper: &mut Keeper) -> bool {
        if self.due().is_none_or(|due| due > Instant::now()) {
            return false;
        }
        let changed = keeper.find_sources(BootSeconds::now());
        self.asking = Some(Box::pin(ask(keeper)));
        self.next = Instant::now() + EVERY;
        changed
    }

    /// Has the next round begin now.
    pub(super) fn hurry(&mut self) {
        self.next = Instant::now();
    }

    /// What they say, when they have said it.
    pub(super) async fn heard(&mut self) -> Vec<Heard> {
        let heard = match &mut self.asking {
            Some(asking) => asking.await,
            None => pending().await,
        };
        self.asking = None;
        heard
    }

    /// Takes down what they say.
    pub(super) fn take(&mut self, keeper: &mut Keeper, heard: Vec<Heard>) {
        take(keeper, heard, &mut self.complaints);
    }
}

fn ask(keeper: &Keeper) -> impl Future<Output = Vec<Heard>> + use<> {
    live::ask(keeper.origins.sources.clone(), keeper.book.channels())
}

/// Asks once, before anything is guarded, and takes no complaint: the next round follows.
pub(super) async fn first(keeper: &mut Keeper) {
    if let Ok(heard) = timeout(FIRST, ask(keeper)).await {
        let answers = heard.into_iter().filter(|(_, answer)| answer.is_ok());
        take(keeper, answers.collect(), &mut Complaints::default());
    }
}

fn take(keeper: &mut Keeper, heard: Vec<Heard>, complaints: &mut Complaints) {
    let now = BootSeconds::now();
    for (daemon, answer) in heard {
        complaints.hear(daemon, answer.as_ref().err().map(ToString::to_string));
        keeper.book.heard(daemon, answer.ok().flatten(), now);
    }
}

/// What was logged of each daemon, so that it is logged once.
#[derive(Default)]
struct Complaints {
    said: BTreeMap<&'static str, String>,
}

impl Complaints {
    /// Logs what is wrong with a daemon's answer, if that is new.
    fn hear(&mut self, daemon: &'static str, trouble: Option<String>) {
        let Some(trouble) = trouble else {
            self.said.remove(daemon);
            return;
        };
        if self.said.get(daemon) != Some(&trouble) {
            tracing::warn!(
                "{daemon} was asked which sources it uses: {trouble}; its configuration counts alone"
            );
            self.said.insert(daemon, trouble);
        }
    }
}
