//! Which time sources the running daemons say they use.
//!
//! Each daemon is a file behind `Asked`. Only loopback, sockets and D-Bus are asked, where nobody but
//! root or the daemon itself can answer.

mod chrony;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod mode6;
mod ntpd_rs;
mod openntpd;
mod timesyncd;

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use ntpguard_common::tables::Role;
use thiserror::Error;
use tokio::time::timeout;

use crate::sources::{Channel, Kind, Source};

/// How long a daemon has to answer everything.
const PATIENCE: Duration = Duration::from_secs(2);

/// A time daemon that can be asked.
trait Asked: Send + Sync {
    /// The daemon's name.
    fn name(&self) -> &'static str;

    /// Asks it; `None` where it is not there.
    fn ask(&self) -> BoxFuture<'_, Result<Option<Answer>, AskError>>;
}

/// What a daemon says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The sources it uses.
    pub sources: Vec<InUse>,
    /// Names that it has and would resolve itself, wherever it has them from.
    pub names: BTreeSet<String>,
}

/// A time source that a daemon uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InUse {
    /// Its address.
    pub address: IpAddr,
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
    fn server(address: IpAddr, name: Option<String>, selected: bool) -> Self {
        Self {
            address,
            port: None,
            name,
            roles: vec![Role::Server],
            selected,
        }
    }
}

/// A daemon that was asked in vain.
#[derive(Debug, Error)]
pub enum AskError {
    /// It does not answer.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silence,
    /// It does not want to.
    #[error("it refuses to tell: {0}")]
    Refused(String),
    /// It answers something else.
    #[error("its answer makes no sense: {0}")]
    Nonsense(String),
    /// It cannot be asked.
    #[error("it cannot be asked: {0}")]
    Io(#[from] io::Error),
}

/// What came of asking one daemon; `None` where it is not there.
pub type Heard = (&'static str, Result<Option<Answer>, AskError>);

/// Asks the daemons that `sources` are of, at the usual places and at `channels`. It takes
/// two seconds at most.
pub async fn ask(sources: Vec<Source>, channels: BTreeSet<Channel>) -> Vec<Heard> {
    let daemons = daemons(&sources, &channels);
    join_all(daemons.iter().map(|daemon| async {
        let answer = timeout(PATIENCE, daemon.ask()).await;
        (daemon.name(), answer.unwrap_or(Err(AskError::Silence)))
    }))
    .await
}

/// The daemons to ask. A command line may be any daemon's that sources can be named by.
fn daemons(sources: &[Source], channels: &BTreeSet<Channel>) -> Vec<Box<dyn Asked>> {
    // A container's daemon that is not listened to is not asked either.
    let has = |kind| {
        let mut read = sources.iter().filter(|source| source.is_read());
        read.any(|source| source.kind == kind)
    };
    let mut daemons: Vec<Box<dyn Asked>> = Vec::new();
    if has(Kind::Chrony) || has(Kind::CommandLine) {
        daemons.push(Box::new(chrony::Chronyd::new(channels)));
    }
    if has(Kind::NtpConf) || has(Kind::CommandLine) {
        daemons.push(Box::new(mode6::Ntpd {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 123)),
        }));
    }
    for channel in channels {
        if let Channel::Observation(path) = channel {
            daemons.push(Box::new(ntpd_rs::NtpdRs { path: path.clone() }));
        }
    }
    if has(Kind::OpenNtpd) {
        daemons.push(Box::new(openntpd::OpenNtpd));
    }
    if has(Kind::Timesyncd) {
        daemons.push(Box::new(timesyncd::Timesyncd));
    }
    daemons
}

/// Whether an error of connecting says that nobody is there.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}
