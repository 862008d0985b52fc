//! The start of a guard, up to where its daemon lives: first all checks, which change nothing, then the
//! lock, then what the kernel is to be given.
//!
//! Dropped at any point, it leaves what was there before, and a predecessor to go on.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::{sync::mpsc, time::timeout};

use super::{
    DaemonError, Options,
    control::{self, Call, ControlError},
    event_loop::ASKED_AT_ONCE,
    finding::Finding,
    handover::Predecessor,
    poller,
    reading::Reading,
    serving::Serving,
};
use crate::{
    allowlist::{projection::Projection, room::Room, state::StateFile},
    api::protocol::{Reply, Request},
    clock::BootSeconds,
    datapath::{self, Interface, Lock, PinDir},
    offload::{Offload, Outcome},
    readers::Readers,
    reconciler::Reconciler,
    resolve::{Question, Resolver},
    trust::Found,
};

/// How long a start waits for a command that holds the lock, or for a daemon that is ending.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// How long a start waits for the first addresses of names.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

/// The name of the thread that gives the kernel what it is to have.
const THREAD: &str = "ntpguard-start";

/// All that a guard needs, but for what is in the kernel.
pub(super) struct Start {
    pub(super) lock: Lock,
    /// Goes on with the guard when this is dropped.
    pub(super) predecessor: Option<Predecessor>,
    pub(super) reconciler: Reconciler,
    pub(super) reading: Reading,
    pub(super) resolver: Resolver,
    pub(super) finding: Finding,
    pub(super) found: Found,
    pub(super) serving: Serving,
    pub(super) called: mpsc::Receiver<Call>,
    /// What the kernel is to be given.
    pub(super) guard: datapath::Options,
    pub(super) wanted: Projection,
}

impl Start {
    /// Checks, takes the lock, and reads all there is to be read.
    pub(super) async fn prepare(options: &Options, readers: &Readers) -> Result<Self, DaemonError> {
        let mut guard = guard(options).await?;
        guard.check()?;
        let (lock, predecessor) = take(options, &guard).await?;

        let state = StateFile::below(&options.state_dir);
        let mut reconciler = Reconciler::open(state, options.origins.clone(), BootSeconds::now())?;
        let mut reading = Reading::new(readers.clone());
        reading.first(&mut reconciler).await;
        if reconciler.origins.sources.is_empty() {
            tracing::warn!(
                "no time daemon configuration found: only manual grants (`ntpguard allowlist \
                 add`) are in force; name a file with --source"
            );
        }
        reading.report(&reconciler, &BTreeSet::new());
        let resolver = reconciler.origins.resolver(readers.clone());
        reconciler.refused = resolver.refused();
        poller::first(&mut reconciler, readers).await;
        learn(&mut reconciler, &resolver).await;

        let (serving, called) = Serving::begin(options)?;
        let mut finding = Finding::new();
        let found = finding.first(&options.senders).await;
        guard.senders = found.clone();
        let wanted = reconciler.fit(Room::of(options.table_size), BootSeconds::now());
        Ok(Self {
            lock,
            predecessor,
            reconciler,
            reading,
            resolver,
            finding,
            found,
            serving,
            called,
            guard,
            wanted,
        })
    }

    /// Gives the kernel what it is to have. Once begun this is not left half done: it takes as long as
    /// the kernel does, on a thread of its own.
    pub(super) async fn attach(&self) -> Result<datapath::Guard, DaemonError> {
        let (options, wanted) = (self.guard.clone(), self.wanted.clone());
        let started = offloaded(move || datapath::Guard::start(&options, &wanted)).await?;
        Ok(started?)
    }
}

/// Does what blocks on a thread of its own, so that signals are heard meanwhile.
async fn offloaded<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DaemonError> {
    let mut offload = Offload::new(THREAD);
    if !offload.start(work) {
        return Err(DaemonError::Thread);
    }
    loop {
        match offload.next().await {
            Outcome::Done(result) => return Ok(result),
            Outcome::Overdue => tracing::warn!("the kernel is slow to load the guard"),
            Outcome::Lost => return Err(DaemonError::Thread),
        }
    }
}

/// What the kernel is to be given, as far as the options say.
async fn guard(options: &Options) -> Result<datapath::Options, DaemonError> {
    Ok(datapath::Options {
        pin_dir: options.pin_dir.clone(),
        interfaces: interfaces(&options.interfaces).await?,
        mode: options.mode,
        attach: options.attach,
        tracking: options.tracking,
        client_rate: options.client_rate,
        total_rate: options.total_rate,
        senders: Found::default(),
        uids: options.senders.uids.clone(),
        table_size: options.table_size,
    })
}

async fn interfaces(names: &[String]) -> Result<Vec<Interface>, datapath::Error> {
    if names.is_empty() {
        return Ok(vec![Interface::default_route().await?]);
    }
    let mut found: Vec<Interface> = Vec::new();
    for name in names {
        let interface = Interface::by_name(name).await?;
        if !found.contains(&interface) {
            found.push(interface);
        }
    }
    Ok(found)
}

/// Takes the lock of the pin directory, from a living daemon if it is to be replaced. That is asked
/// last, when all that can be checked is.
async fn take(
    options: &Options,
    guard: &datapath::Options,
) -> Result<(Lock, Option<Predecessor>), DaemonError> {
    let pins = PinDir::new(&options.pin_dir);
    let socket = control::socket_path(&options.state_dir);
    if options.replace {
        if let Some(mut predecessor) = Predecessor::at(&socket).await? {
            let programs = guard.clone();
            offloaded(move || programs.check_programs()).await??;
            if let Some(lock) = predecessor.yields().await? {
                tracing::info!("taking over from the running daemon");
                return Ok((pins.shared_lock(lock), Some(predecessor)));
            }
        }
    } else {
        refuse_if_taken(&socket).await?;
    }
    Ok((pins.lock_async(LOCK_WAIT).await?, None))
}

async fn refuse_if_taken(socket: &std::path::Path) -> Result<(), DaemonError> {
    match control::ask(socket, &Request::Status).await {
        Ok(Some(Reply::Status(status))) => match status.daemon {
            Some(daemon) => Err(DaemonError::Taken { pid: daemon.pid }),
            None => Ok(()),
        },
        // It is about to end.
        Ok(_) | Err(ControlError::Ended { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Asks for the names that nothing is known of, before anything is dropped for the lack of them: a
/// time daemon that runs already is to lose no reply.
async fn learn(reconciler: &mut Reconciler, resolver: &Resolver) {
    let unknown: Vec<Question> = reconciler.book.names.unknown().collect();
    // The processes that ask are few.
    let asked = stream::iter(unknown).map(|question| resolver.look_up(question));
    let mut asked = std::pin::pin!(asked.buffer_unordered(ASKED_AT_ONCE));
    let answers = async {
        while let Some((question, result)) = asked.next().await {
            reconciler.resolved(&question, result);
        }
    };
    if timeout(FIRST_ANSWERS, answers).await.is_err() {
        tracing::warn!("DNS is slow: guarding starts before all names are resolved");
    }
}
