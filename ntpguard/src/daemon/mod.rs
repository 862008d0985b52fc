//! The guard while it runs.
//!
//! [`run`] starts it, `life` is what it does until its end, [`control`] the socket on which commands
//! speak with it.

mod complaints;
pub mod control;
mod finding;
mod life;
pub mod protocol;
mod reading;
mod rounds;
mod settling;
mod status;
pub mod viewers;
pub mod watch;

use std::{
    collections::BTreeSet,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use ntpguard_common::judge::Learn;
use thiserror::Error;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use self::{
    control::ControlError,
    finding::{Finding, report_senders},
    life::Daemon,
    protocol::{Reply, Request},
    reading::{Reading, report_problems},
};
use crate::{
    allowlist::state::StateFile,
    clock::BootSeconds,
    confine,
    datapath::{self, AttachMode, Guard, Interface, Lock, Mode, PinDir, Tracking},
    keeper::{Keeper, KeeperError, Origins},
    processes::{self, Accounts},
    readers::Readers,
    report::Grants,
    resolve::Resolver,
    senders::{Found, Senders, forwarding},
    telemetry::{News, Teller},
};

/// How long a start waits for a command that holds the lock, or for a daemon to yield.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// How long a start waits for the first addresses of names.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

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
        "`ntpguard run` lives already, with pid {pid}: end it, take over from it with --replace, or \
         start another guard with --pin-dir and --state-dir of its own"
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
    Keeper(#[from] KeeperError),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Guards until `shutdown`, or until a successor takes over.
pub async fn run(
    options: Options,
    readers: Readers,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    processes::add_accounts(options.accounts.clone());
    let lock = take(&options).await?;
    give_up_privileges(options.attach);
    for missing in readers.missing() {
        tracing::warn!("the processes that parse can do more than they need: {missing}");
    }
    let interfaces = interfaces(&options.interfaces).await?;
    let now = BootSeconds::now();
    let state = StateFile::below(&options.state_dir);
    let mut keeper = Keeper::open(state, options.origins.clone(), now)?;
    let mut reading = Reading::new(readers.clone());
    reading.first(&mut keeper).await;
    if keeper.origins.sources.is_empty() {
        tracing::warn!(
            "no time daemon's configuration was found: only what `ntpguard allowlist add` grants \
             is admitted; name a file with --source"
        );
    }
    report_problems(&keeper, &BTreeSet::new());

    let resolver = keeper.origins.resolver(readers.clone());
    rounds::first(&mut keeper, &readers).await;
    learn(&mut keeper, &resolver).await;

    let (calls, called) = mpsc::channel(16);
    let listener = control::listen(&control::socket_path(&options.state_dir))?;

    let mut finding = Finding::new();
    let found = finding.first(&options.senders).await;
    let now = BootSeconds::now();
    let wanted = keeper.book.projection(now);
    let guard = Guard::start(
        &datapath::Options {
            pin_dir: options.pin_dir.clone(),
            interfaces,
            mode: options.mode,
            attach: options.attach,
            tracking: options.tracking,
            client_rate: options.client_rate,
            total_rate: options.total_rate,
            senders: found.clone(),
            uids: options.senders.uids.clone(),
            table_size: options.table_size,
        },
        &wanted,
    )?;
    keeper.adopt(wanted);
    if let Err(error) = keeper.save(now) {
        tracing::error!("{error}");
    }
    announce(&guard, &keeper, options.mode);
    warn_of_forwarding(options.tracking);
    report_senders(&found, &Found::default());
    let news = Arc::new(News::new());
    let telling = tell(&options.pin_dir, &news);
    let serving = tokio::spawn(control::serve(listener, calls, news));

    let mut daemon = Daemon::new(
        keeper,
        guard,
        reading,
        options.senders.clone(),
        finding,
        found,
    );
    let yielded = daemon.live(&resolver, called, shutdown).await;
    serving.abort();
    // The buffer has one reader, and that is the successor's from now on.
    if let Some(telling) = telling {
        telling.abort();
    }
    daemon.end(&options, yielded, lock)
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

/// Reads what the kernel tells of single packets, from now on. The guard is as good without.
fn tell(pin_dir: &Path, news: &Arc<News>) -> Option<JoinHandle<()>> {
    let teller = match Teller::open(&PinDir::new(pin_dir), Arc::clone(news)) {
        Ok(teller) => teller,
        Err(error) => {
            tracing::error!("{error}: there are no events");
            news.fail(error.to_string());
            return None;
        }
    };
    let news = Arc::clone(news);
    Some(tokio::spawn(async move {
        let Err(error) = teller.tell().await;
        tracing::error!("{error}: there are no more events");
        news.fail(error.to_string());
    }))
}

/// Asks for the names that nothing is known of, before anything is dropped for the lack of them: a
/// time daemon that runs already is to lose no reply.
async fn learn(keeper: &mut Keeper, resolver: &Resolver) {
    let mut asked: FuturesUnordered<_> = keeper
        .book
        .names
        .unknown()
        .map(|question| resolver.look_up(question))
        .collect();
    let answers = async {
        while let Some((question, result)) = asked.next().await {
            keeper.resolved(&question, result);
        }
    };
    if timeout(FIRST_ANSWERS, answers).await.is_err() {
        tracing::warn!("DNS is slow: guarding starts without the addresses of all names");
    }
}

/// Takes the lock of the pin directory, from a living daemon if it is to be replaced.
async fn take(options: &Options) -> Result<Lock, DaemonError> {
    let pins = PinDir::new(&options.pin_dir);
    let socket = control::socket_path(&options.state_dir);
    if options.replace {
        match control::ask(&socket, &Request::Yield).await {
            Ok(None) => {}
            Ok(Some(Reply::Failed(why))) => tracing::warn!("the daemon does not yield: {why}"),
            // A daemon that ends may do so before its answer is through.
            Ok(Some(_)) | Err(_) => tracing::info!("taking over from the running daemon"),
        }
    } else if let Ok(Some(Reply::Status(status))) = control::ask(&socket, &Request::Status).await
        && let Some(daemon) = status.daemon
    {
        return Err(DaemonError::Taken { pid: daemon.pid });
    }
    Ok(pins.lock(LOCK_WAIT)?)
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

/// Says what is cut where the requests of others are sent on.
fn warn_of_forwarding(tracking: Tracking) {
    let families = forwarding::families();
    if !tracking.track || tracking.learn == Learn::Any || families.is_empty() {
        return;
    }
    tracing::warn!(
        "this host forwards {}: those behind it hear only the servers that are granted here; on a \
         gateway or hypervisor, --learn any lets everybody's requests be answered",
        families.join(" and ")
    );
}

fn announce(guard: &Guard, keeper: &Keeper, mode: Mode) {
    for attached in &guard.attached {
        let requests = match attached.egress {
            Some(egress) => format!(", requests noted by {}", egress.name()),
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
    let granted = Grants::of(keeper.projected());
    let without_addresses = keeper.book.names.unknown().count();
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
            format!("; names without an address yet: {without_addresses}")
        },
    );
}
