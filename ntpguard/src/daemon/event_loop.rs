//! The daemon's one task: it waits for whatever comes first, acts on it, and writes what has changed.

use std::{
    future::{Future, pending},
    pin::Pin,
    time::Duration,
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    control::Call,
    debounce::Debounce,
    ending::End,
    finding::{self, Finding, report_senders},
    handover::Handed,
    poller::{Poller, Step},
    reading::Reading,
    serving::Serving,
    status,
    watch::Watch,
};
use crate::{
    allowlist::projection::Projection,
    api::{
        allowlist::Edited,
        inventory::Inventory,
        protocol::{Reply, Request},
        status::Grants,
    },
    clock::BootSeconds,
    datapath::{Guard, InterfaceEvents, Lock, Occasion},
    offload::Outcome,
    reconciler::{Reconciler, ReconcilerError, discovery::Read},
    resolve::{Answer, Failure, Question, Resolver},
    trust::{Found, Senders},
};

/// The longest sleep: the timers of this process stand still while the machine is suspended, and
/// lifetimes do not.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How often the running time daemons are looked for. Those whose cgroup is known are noticed at
/// once.
const LOOK_FOR_SENDERS: Duration = Duration::from_secs(5);

/// How often what is attached and pinned is compared with what should be.
const LOOK_AT_ATTACHMENTS: Duration = Duration::from_secs(3);
/// How long after a vain try to guard again as before a handing over the next one comes: each logs why.
const TAKE_BACK_RETRY: Duration = Duration::from_secs(2);

/// Most questions to DNS at a time.
pub(super) const ASKED_AT_ONCE: usize = 16;

/// An answer of DNS on its way.
type Asked<'a> = BoxFuture<'a, (Question, Result<Answer, Failure>)>;

/// Waits until something watched has changed; for ever without a watch.
async fn changed(watch: Option<&mut Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => pending().await,
    }
}

/// A guard in force, and all that changes it.
pub(super) struct Daemon<'a> {
    pub(super) reconciler: Reconciler,
    pub(super) guard: Guard,
    reading: Reading,
    senders: Senders,
    finding: Finding,
    /// The senders that the kernel trusts now.
    pub(super) found: Found,
    pub(super) serving: Serving,
    /// Whether a successor may have changed what is pinned, and failed.
    pub(super) is_to_take_back: bool,
    /// When that was last undone in vain.
    took_back: Option<Instant>,
    asked: FuturesUnordered<Asked<'a>>,
    poller: Poller,
    /// Who waits for an update to be done, and what was granted when it began.
    pub(super) updates: Vec<(oneshot::Sender<Reply>, Projection)>,
    /// Why the tables or the state file are not as they should be.
    trouble: Option<String>,
}

/// What the daemon wakes up for.
enum Event {
    Resolved(Question, Result<Answer, Failure>),
    Called(Call),
    Round(Step),
    Read(Outcome<Read>),
    Changed,
    Settled,
    Senders,
    Found(Outcome<Found>),
    Attachments(Occasion),
    Due,
    Shutdown,
}

impl<'a> Daemon<'a> {
    pub(super) fn new(
        reconciler: Reconciler,
        guard: Guard,
        reading: Reading,
        senders: Senders,
        finding: Finding,
        found: Found,
        serving: Serving,
    ) -> Self {
        let poller = Poller::new(reading.readers().clone());
        Self {
            reconciler,
            guard,
            reading,
            senders,
            finding,
            found,
            serving,
            is_to_take_back: false,
            took_back: None,
            asked: FuturesUnordered::new(),
            poller,
            updates: Vec::new(),
            trouble: None,
        }
    }

    /// Lives until `shutdown`, or until a successor has taken over.
    pub(super) async fn live(
        &mut self,
        resolver: &'a Resolver,
        called: &mut mpsc::Receiver<Call>,
        lock: &mut Lock,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> End {
        let mut watch = Watch::new()
            .inspect_err(|error| {
                tracing::warn!(
                    "cannot watch files for changes: {error}; after a change, run `ntpguard \
                     allowlist update`"
                );
            })
            .ok();
        self.watch(watch.as_mut());
        // Apart from the files': a sender is to be trusted before its first request.
        let mut cgroups = Watch::new()
            .inspect_err(|error| tracing::warn!("cannot watch cgroups: {error}"))
            .ok();
        self.watch_senders(cgroups.as_mut());
        let mut interfaces = InterfaceEvents::subscribe()
            .inspect_err(|error| {
                tracing::warn!(
                    "{error}: an interface that returns is guarded again only after some seconds"
                );
            })
            .ok();
        // The first tick is at once: an interface may have gone since the start.
        let mut attachments = interval(LOOK_AT_ATTACHMENTS);
        attachments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(LOOK_FOR_SENDERS);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut debounce = Debounce::default();
        loop {
            self.ask_what_is_due(resolver);
            if self.poller.begin_if_due() {
                self.reading.look();
            }
            self.reading.begin(&self.reconciler);
            self.finish_updates();
            let due = self.next_wake();
            let settled = debounce.due(watch.as_ref().is_some_and(Watch::is_being_written));
            let event = tokio::select! {
                () = &mut shutdown => Event::Shutdown,
                Some((question, result)) = self.asked.next() => Event::Resolved(question, result),
                Some(call) = called.recv() => Event::Called(call),
                step = self.poller.step() => Event::Round(step),
                outcome = self.reading.next() => Event::Read(outcome),
                outcome = self.finding.next() => Event::Found(outcome),
                () = changed(watch.as_mut()) => Event::Changed,
                () = sleep_until(settled.unwrap_or(due)), if settled.is_some() => Event::Settled,
                () = changed(cgroups.as_mut()) => Event::Senders,
                _ = look.tick() => Event::Senders,
                Some(()) = change(interfaces.as_mut()) => Event::Attachments(Occasion::Change),
                _ = attachments.tick() => Event::Attachments(Occasion::Tick),
                () = sleep_until(due) => Event::Due,
            };
            match event {
                Event::Shutdown => return End::Stopped,
                Event::Resolved(question, result) => self.reconciler.resolved(&question, result),
                Event::Called(Call {
                    connection: Some(stream),
                    answer,
                    ..
                }) => {
                    let handed = self.hand_over(stream, lock, called, shutdown.as_mut());
                    match handed.await {
                        Handed::Over => return End::Replaced,
                        Handed::Back(calls) => calls.into_iter().for_each(|call| self.called(call)),
                    }
                    drop(answer);
                }
                Event::Called(call) => self.called(call),
                Event::Round(step) => self.poller.take(&mut self.reconciler, step),
                Event::Read(outcome) => {
                    if self.take_reading(outcome) {
                        self.watch(watch.as_mut());
                    }
                }
                Event::Changed => debounce.changed(Instant::now()),
                Event::Settled => {
                    debounce.read();
                    self.reading.read();
                }
                Event::Senders => {
                    // First, so that what comes meanwhile is noticed.
                    self.watch_senders(cgroups.as_mut());
                    self.finding.begin(&self.senders);
                }
                Event::Found(outcome) => self.take_senders(outcome),
                Event::Attachments(occasion) => {
                    self.reconciler.forget_interfaces();
                    self.guard.reattach(occasion);
                    if let Some(new) = self.guard.take_new_lock() {
                        *lock = new;
                    }
                }
                Event::Due => {}
            }
            self.commit();
        }
    }

    fn watch(&self, watch: Option<&mut Watch>) {
        if let Some(watch) = watch {
            watch.set(self.reconciler.watched());
        }
    }

    fn watch_senders(&self, cgroups: Option<&mut Watch>) {
        if let Some(cgroups) = cgroups {
            cgroups.set(self.senders.watched(self.found.hierarchy.as_ref()));
        }
    }

    /// Has the kernel trust the senders that were found.
    fn take_senders(&mut self, outcome: Outcome<Found>) {
        let taken = self
            .finding
            .take(outcome, &self.senders, &mut self.reconciler);
        let Some(found) = taken.map(|found| found.after(&self.found)) else {
            return;
        };
        if found.trusted_senders != self.found.trusted_senders
            && let Err(error) = self.guard.tables.set_trusted_cgroups(&found.for_kernel())
        {
            self.note_trouble(error.to_string());
            return;
        }
        report_senders(&found, &self.found);
        self.reconciler.see_senders(finding::problems(&found));
        self.found = found;
    }

    fn next_wake(&self) -> Instant {
        let longest = Instant::now() + LONGEST_SLEEP;
        let due = self.reconciler.book.next().map(|next| {
            let seconds = next.since(BootSeconds::now());
            Instant::now() + Duration::from_secs(u64::from(seconds))
        });
        // What is due already waits for a place among the questions asked, not for the time.
        let busy = self.asked.len() >= ASKED_AT_ONCE;
        let due = due.filter(|_| !busy).into_iter().chain(self.poller.due());
        due.fold(longest, Instant::min)
    }

    fn ask_what_is_due(&mut self, resolver: &'a Resolver) {
        let free = ASKED_AT_ONCE.saturating_sub(self.asked.len());
        for question in self
            .reconciler
            .book
            .names
            .due(BootSeconds::now())
            .into_iter()
            .take(free)
        {
            self.reconciler.book.names.asking(&question);
            self.asked.push(Box::pin(resolver.look_up(question)));
        }
    }

    /// Does what a command asks, and answers it.
    fn called(&mut self, call: Call) {
        let now = BootSeconds::now();
        let tables = Some(&mut self.guard.tables);
        let answer = match call.request {
            Request::Add(addition) => edited(self.reconciler.add(&addition, tables, now)),
            Request::Remove(removal) => edited(self.reconciler.remove(&removal, tables, now)),
            Request::Update => {
                let before = self.reconciler.projected().clone();
                self.reading.read();
                self.reconciler.book.names.refresh_now(now);
                self.poller.refresh_now();
                self.updates.push((call.answer, before));
                return;
            }
            _ => return self.answer(call),
        };
        // The one who asked may have gone.
        drop(call.answer.send(answer));
    }

    /// Answers a question, and changes nothing.
    pub(super) fn answer(&mut self, call: Call) {
        let now = BootSeconds::now();
        let answer = match call.request {
            Request::Status => self.status(now),
            Request::Sources => self.sources(now),
            Request::List => self.list(now),
            // Answered where the question arrives.
            _ => Reply::Failed("the event loop does not handle this request".to_owned()),
        };
        drop(call.answer.send(answer));
    }

    fn sources(&self, now: BootSeconds) -> Reply {
        let (book, sources) = (&self.reconciler.book, &self.reconciler.origins.sources);
        let silent = self.poller.complaints().current();
        let mut inventory = Inventory::of(book, sources, silent, now);
        inventory
            .problems
            .extend(self.reconciler.hangs.values().cloned());
        Reply::Sources(Box::new(inventory))
    }

    fn list(&mut self, now: BootSeconds) -> Reply {
        match self.reconciler.learn(&self.guard.tables) {
            Ok(()) => Reply::List(self.reconciler.list(now)),
            Err(error) => Reply::Failed(error.to_string()),
        }
    }

    fn status(&self, now: BootSeconds) -> Reply {
        match status::of(&self.reconciler, &self.guard, self.reading.readers(), now) {
            Ok(mut status) => {
                status.traffic.add_senders(&self.found);
                status.trouble = self.trouble.clone().or(status.trouble);
                status.problems.extend(self.poller.complaints().unseen());
                Reply::Status(Box::new(status))
            }
            Err(error) => Reply::Failed(error.to_string()),
        }
    }

    fn finish_updates(&mut self) {
        let now = BootSeconds::now();
        let is_done = self.reading.is_done() && self.reconciler.book.names.is_idle(now);
        if self.updates.is_empty() || !is_done {
            return;
        }
        for (answer, before) in std::mem::take(&mut self.updates) {
            drop(answer.send(Reply::Updated(self.reconciler.updated(&before, true, now))));
        }
    }

    /// Takes what came of a reading; says whether the sources were read.
    fn take_reading(&mut self, outcome: Outcome<Read>) -> bool {
        let problems = self.reconciler.problems();
        let said = problems.map(|problem| problem.to_string()).collect();
        let was_read = self.reading.take(&mut self.reconciler, outcome);
        self.reading.report(&self.reconciler, &said);
        was_read
    }

    fn commit(&mut self) {
        if self.is_to_take_back {
            let is_too_soon = |at: Instant| at.elapsed() < TAKE_BACK_RETRY;
            if self.took_back.is_some_and(is_too_soon) {
                return;
            }
            self.took_back = Some(Instant::now());
            if let Err(trouble) = self.take_back() {
                return self.note_trouble(trouble);
            }
            self.took_back = None;
        }
        let now = BootSeconds::now();
        if self.reconciler.is_save_due(now)
            && let Err(error) = self.reconciler.learn(&self.guard.tables)
        {
            return self.note_trouble(error.to_string());
        }
        match self.reconciler.commit(Some(&mut self.guard.tables), now) {
            Ok(true) => {
                let granted = Grants::of(self.reconciler.projected());
                tracing::debug!(
                    "grants: {} addresses, {} prefixes",
                    granted.addresses,
                    granted.prefixes
                );
            }
            Ok(false) => {}
            Err(error) => return self.note_trouble(error.to_string()),
        }
        if let Err(error) = self.guard.reload_if_needed(self.reconciler.projected()) {
            return self.note_trouble(error.to_string());
        }
        if let Some(left_out) = self.reconciler.left_out() {
            return self.note_trouble(left_out.to_string());
        }
        if self.trouble.take().is_some() {
            tracing::info!("the maps and the state file are up to date again");
        }
    }

    /// Remembers what went wrong for `status`, and logs it when it is new.
    pub(super) fn note_trouble(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::error!("{trouble}");
        }
        self.trouble = Some(trouble);
    }
}

/// Waits for a change of an interface, for ever where none is told.
async fn change(events: Option<&mut InterfaceEvents>) -> Option<()> {
    match events {
        Some(events) => events.next().await,
        None => pending().await,
    }
}

/// The answer to an edit. The daemon's edits are in the kernel's tables.
fn edited(result: Result<Edited, ReconcilerError>) -> Reply {
    match result {
        Ok(edited) => Reply::Edited(Edited {
            in_kernel: true,
            ..edited
        }),
        Err(error) => Reply::Failed(error.to_string()),
    }
}
