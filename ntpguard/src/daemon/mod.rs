//! The guard while it runs.
//!
//! [`run`] starts it, `life` is what it does until its end, [`control`] the socket on which commands
//! speak with it, and `handover` how another one takes its place.

mod client;
mod complaints;
pub mod control;
mod debounce;
mod ending;
mod event_loop;
mod finding;
mod handover;
mod idle;
mod poller;
mod reading;
mod serving;
mod spare;
mod start;
mod status;
pub mod subscribers;
pub mod watch;

use std::{
    future::Future,
    path::PathBuf,
    pin::{Pin, pin},
};

use thiserror::Error;

use self::{control::ControlError, event_loop::Daemon, finding::report_senders, start::Start};
use crate::{
    api::status::Grants,
    clock::BootSeconds,
    confine,
    datapath::{self, AttachMode, Guard, Mode, PinDir, Tracking},
    processes::{self, Accounts},
    readers::Readers,
    reconciler::{Origins, Reconciler, ReconcilerError},
    trust::{Found, Senders},
};

/// What to guard, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The pin directory.
    pub pin_dir: PathBuf,
    /// The directory of the state file and the control socket.
    pub state_dir: PathBuf,
    /// The interfaces; the default route's where empty.
    pub interfaces: Vec<String>,
    /// What the allowlist is made from.
    pub origins: Origins,
    /// Whether packets are dropped.
    pub mode: Mode,
    /// How to attach.
    pub attach: AttachMode,
    /// What replies have to prove.
    pub tracking: Tracking,
    /// Packets a second that each client may send, 0 for no limit.
    pub client_rate: u32,
    /// Packets a second that all clients may send, 0 for no limit.
    pub total_rate: u32,
    /// Whose requests are trusted.
    pub senders: Senders,
    /// Accounts that time daemons run as, beside the usual ones.
    pub accounts: Accounts,
    /// Most entries of each allowlist table.
    pub table_size: u32,
    /// Whether everything stays attached at the end.
    pub persist: bool,
    /// Whether to take over from a running daemon.
    pub replace: bool,
}

/// A guard that could not start, or had to end.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// Another daemon has this guard.
    #[error(
        "ntpguard is already running (pid {pid}): stop it, or take over with --replace; a second \
         guard needs its own --pin-dir and --state-dir"
    )]
    Taken {
        /// The daemon's process id.
        pid: u32,
    },
    /// The kernel's side.
    #[error(transparent)]
    Datapath(#[from] datapath::Error),
    /// The allowlist.
    #[error(transparent)]
    Reconciler(#[from] ReconcilerError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A thread could not be started, or ended early.
    #[error("the thread that loads the guard failed: is the limit on threads reached?")]
    Thread,
}

/// Guards until `shutdown`, or until a successor takes over.
pub async fn run(
    options: Options,
    readers: Readers,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let mut shutdown = pin!(shutdown);
    processes::add_accounts(options.accounts.clone());
    // To mount it takes privileges.
    PinDir::new(&options.pin_dir).require()?;
    give_up_privileges(options.attach);
    for missing in readers.missing() {
        tracing::warn!("the parser processes have more privileges than they need: {missing}");
    }
    let start = tokio::select! {
        biased;
        () = &mut shutdown => {
            tracing::info!("stopped before anything was guarded");
            return Ok(());
        }
        start = Box::pin(Start::prepare(&options, &readers)) => start?,
    };
    let (guard, is_stopped) = attach(&start, shutdown.as_mut()).await?;
    if is_stopped {
        return stop(start, guard, &options).await;
    }
    Box::pin(guard_on(start, guard, &options, shutdown)).await
}

/// Attaches, and says whether that was to be stopped meanwhile.
async fn attach(
    start: &Start,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<(Guard, bool), DaemonError> {
    let mut attaching = pin!(start.attach());
    tokio::select! {
        biased;
        () = &mut shutdown => {
            tracing::info!("stopping once the present change is complete");
            Ok((attaching.await?, true))
        }
        guard = &mut attaching => Ok((guard?, false)),
    }
}

/// Leaves the guard to the predecessor, or else undoes a start that was stopped.
async fn stop(start: Start, guard: Guard, options: &Options) -> Result<(), DaemonError> {
    drop(start.called);
    start.serving.end().await;
    if start.predecessor.is_none() && !options.persist {
        guard.detach()?;
        tracing::info!("detached");
    }
    Ok(())
}

/// Lives with a guard that is in force.
async fn guard_on(
    start: Start,
    guard: Guard,
    options: &Options,
    shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), DaemonError> {
    let Start {
        mut lock,
        predecessor,
        mut reconciler,
        reading,
        resolver,
        finding,
        found,
        mut serving,
        mut called,
        wanted,
        ..
    } = start;
    // Of what was wanted they hold what had room.
    let held = guard.tables.read();
    reconciler.adopt(held.unwrap_or(wanted));
    if let Err(error) = reconciler.save(BootSeconds::now()) {
        tracing::error!("{error}");
    }
    if let Some(predecessor) = predecessor {
        predecessor.end().await;
        lock.keep();
    }
    announce(&guard, &reconciler, options.mode);
    report_senders(&found, &Found::default());
    reconciler.see_senders(finding::problems(&found));
    // The buffer has one reader, which was the predecessor until now.
    serving.tell();
    let senders = options.senders.clone();
    let mut daemon = Daemon::new(reconciler, guard, reading, senders, finding, found, serving);
    let end = daemon
        .live(&resolver, &mut called, &mut lock, shutdown)
        .await;
    drop(called);
    daemon.end(options, end, lock).await
}

/// Before anything from outside is read, and while there is one thread.
fn give_up_privileges(attach: AttachMode) {
    datapath::prepare();
    let needs = confine::Needs {
        sees_all_programs: attach == AttachMode::External,
    };
    for failure in confine::confine(needs) {
        tracing::warn!("{failure}: this process has more privileges than it needs");
    }
}

fn announce(guard: &Guard, reconciler: &Reconciler, mode: Mode) {
    for attached in &guard.attached {
        let requests = match attached.egress {
            Some(egress) => format!(", requests tracked by {}", egress.name()),
            None => ", requests not tracked".to_owned(),
        };
        tracing::info!(
            "{}: {}{}{}{requests}",
            attached.interface.name,
            attached.how,
            if attached.adopted { ", adopted" } else { "" },
            attached
                .why_not_better
                .as_ref()
                .map(|why| format!(" ({why})"))
                .unwrap_or_default(),
        );
        if let Some(blind_to) = attached.how.blind_to() {
            tracing::warn!("{}: {blind_to}", attached.interface.name);
        }
    }
    let granted = Grants::of(reconciler.projected());
    let without_addresses = reconciler.book.names.unknown().count();
    tracing::info!(
        "{}; granted: {} single addresses, {} prefixes{}",
        match mode {
            Mode::Enforce => "guarding",
            Mode::Monitor => "monitoring, dropping nothing",
        },
        granted.addresses,
        granted.prefixes,
        if without_addresses == 0 {
            String::new()
        } else {
            format!("; names without an address so far: {without_addresses}")
        },
    );
}
