//! Which time sources the running daemons say they use.
//!
//! Each daemon is a file behind `Asked`. A daemon is asked only while a proven process of it runs in our
//! network namespace, and only where no ordinary user can answer in its place: at a loopback port that
//! only root can take, or at a stream socket whose listener is that very process. Nothing is created to
//! ask, and no program is executed. What is answered a process apart reads ([`crate::readers`]).

pub(crate) mod apart;
mod chrony;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod loopback;
mod mode6;
mod ntpd_rs;
mod peer;
mod socket;
mod timesyncd;

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all, ready};
use ntpguard_common::maps::tables::Role;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::timeout;

use crate::{
    lookup::refusal,
    processes::{Namespace, Program, TimeDaemon, time_daemons},
    readers::{ReaderError, Readers},
    scope::Scoped,
    sources::{Channel, Problem},
};

/// How long a daemon has to answer everything.
const PATIENCE: Duration = Duration::from_secs(2);

/// A time daemon that can be asked.
trait Asked: Send + Sync {
    /// The daemon's name.
    fn name(&self) -> &'static str;

    /// Asks it; `None` where it is not there.
    fn ask<'a>(&'a self, readers: &'a Readers) -> Asking<'a>;
}

/// An answer on its way.
type Asking<'a> = BoxFuture<'a, Result<Option<Answer>, AskError>>;

/// What a daemon says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The sources it uses.
    pub sources: Vec<InUse>,
    /// Names that it has and would resolve itself, wherever it has them from.
    pub names: BTreeSet<String>,
    /// What is wrong with the rest of its answer.
    pub flaw: Option<Flaw>,
}

/// What is wrong with a part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Flaw {
    /// An address that lacks its end.
    #[error(
        "it reports its server's IPv6 address as {0}, shifted by 32 bits, as systemd before 241 does"
    )]
    Shifted(Ipv6Addr),
}

/// A time source that a daemon uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InUse {
    /// Its address, and the interface if the daemon tells.
    pub address: Scoped<IpAddr>,
    /// The port that it is asked at, if the daemon tells.
    pub port: Option<u16>,
    /// The name that the daemon knows it by.
    pub name: Option<String>,
    /// `server`, and `peer` where the daemon speaks with it as one.
    pub roles: Vec<Role>,
    /// Whether the daemon takes its time from it just now.
    pub selected: bool,
}

impl InUse {
    /// The same at a port that the daemon tells.
    fn on(self, port: u16) -> Self {
        Self {
            port: Some(port),
            ..self
        }
    }

    /// A server, at a port that the daemon does not tell.
    fn server(address: Scoped<IpAddr>, name: Option<String>, selected: bool) -> Self {
        Self {
            address,
            port: None,
            name,
            roles: vec![Role::Server],
            selected,
        }
    }
}

/// A daemon that was asked in vain, or not at all.
#[derive(Debug, Error)]
pub enum AskError {
    /// It does not answer.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silence,
    /// It does not want to.
    #[error("it refused: {0}")]
    Refused(String),
    /// It answers something else.
    #[error("invalid reply: {0}")]
    Nonsense(String),
    /// It cannot be asked.
    #[error("cannot query it: {0}")]
    Io(#[from] io::Error),
    /// No process reads its answer.
    #[error(transparent)]
    Reader(#[from] ReaderError),
    /// There is no way that is open to ntpguard.
    #[error("{0}")]
    Closed(&'static str),
    /// Any user could answer in its place.
    #[error(
        "any user can listen on port {port}, as ports from {first} are unprivileged \
         (net.ipv4.ip_unprivileged_port_start)"
    )]
    AnyonesPort {
        /// The port.
        port: u16,
        /// The first port that is anyone's.
        first: u16,
    },
    /// Any user could, as far as this process can see.
    #[error(
        "cannot read which ports are unprivileged ({}: {error}), so no port is queried; run as \
         root",
        .setting.display()
    )]
    PortsUnseen {
        /// Where the kernel says so.
        setting: PathBuf,
        /// Why that cannot be read.
        error: io::Error,
    },
    /// Another process answers in its place.
    #[error("{place} is served by a process other than a running {daemon} of this host")]
    Impostor {
        /// The daemon.
        daemon: &'static str,
        /// The socket, or the name on D-Bus.
        place: String,
    },
}

impl AskError {
    /// What this process may not look at, where that is why, for `status`.
    pub fn problem(&self) -> Option<Problem> {
        const OUTCOME: &str = "daemons are not queried for their sources; run as root";
        match self {
            Self::PortsUnseen { setting, error } => Some(refusal(setting, error, OUTCOME)),
            _ => None,
        }
    }

    /// Whether the daemon was not asked at all, and is not going to be as things are.
    pub const fn is_by_choice(&self) -> bool {
        matches!(self, Self::Closed(_) | Self::AnyonesPort { .. })
    }
}

/// What came of asking one daemon; `None` where it does not run, or is not there.
pub type Heard = (&'static str, Result<Option<Answer>, AskError>);

/// What a daemon that is asked shares with this process: a container's word is not taken, and what
/// another network namespace uses passes other interfaces.
const OURS: [Namespace; 3] = [Namespace::Network, Namespace::Process, Namespace::User];

/// The daemons that may be asked. This looks through /proc, so it may take a while.
pub fn running() -> Vec<TimeDaemon> {
    time_daemons(Path::new("/proc"), &OURS).daemons
}

/// Asks the daemons among `running`, at the usual places and at `channels`. It takes two seconds at
/// most.
pub async fn ask(
    readers: Readers,
    channels: BTreeSet<Channel>,
    running: Vec<TimeDaemon>,
) -> Vec<Heard> {
    let daemons = daemons(&channels, &running);
    join_all(daemons.iter().map(|daemon| async {
        let answer = timeout(PATIENCE, daemon.ask(&readers)).await;
        (daemon.name(), answer.unwrap_or(Err(AskError::Silence)))
    }))
    .await
}

/// All daemons that are known, each as it can be asked.
fn daemons(channels: &BTreeSet<Channel>, running: &[TimeDaemon]) -> Vec<Box<dyn Asked>> {
    let of = |program| -> Vec<u32> {
        let its = running.iter().filter(|daemon| daemon.program == program);
        its.map(|daemon| daemon.pid).collect()
    };
    let mut daemons: Vec<Box<dyn Asked>> = Vec::new();
    let mut add = |program: Program, asked: Box<dyn Asked>| {
        let is_running = !of(program).is_empty();
        daemons.push(if is_running {
            asked
        } else {
            Box::new(Absent(asked.name()))
        });
    };
    add(Program::Chronyd, Box::new(chrony::Chronyd::new(channels)));
    add(Program::Ntpd, Box::new(mode6::Ntpd));
    add(Program::OpenNtpd, Box::new(OpenNtpd));
    let pids = of(Program::Timesyncd);
    add(Program::Timesyncd, Box::new(timesyncd::Timesyncd { pids }));
    let paths = channels.iter().filter_map(|channel| match channel {
        Channel::Observation(path) => Some(path.clone()),
        Channel::ChronyPort(_) => None,
    });
    let (paths, pids) = (paths.collect(), of(Program::NtpdRs));
    add(Program::NtpdRs, Box::new(ntpd_rs::NtpdRs { paths, pids }));
    daemons
}

/// A daemon that does not run.
struct Absent(&'static str);

impl Asked for Absent {
    fn name(&self) -> &'static str {
        self.0
    }

    fn ask<'a>(&'a self, _: &'a Readers) -> Asking<'a> {
        Box::pin(ready(Ok(None)))
    }
}

/// OpenNTPD, whose control socket speaks the layout of its version's structures: its own ntpctl alone
/// can read that, and no program is executed to ask.
struct OpenNtpd;

impl Asked for OpenNtpd {
    fn name(&self) -> &'static str {
        "OpenNTPD"
    }

    fn ask<'a>(&'a self, _: &'a Readers) -> Asking<'a> {
        let why = "only ntpctl can query it, and ntpguard does not run other programs";
        Box::pin(ready(Err(AskError::Closed(why))))
    }
}

/// Whether an error of connecting says that nothing listens there.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}
