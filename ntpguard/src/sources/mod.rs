//! What the time daemons' configuration files ask for.
//!
//! Each dialect is a module of its own behind [`Dialect`]; [`discover()`] knows where the
//! distributions put their files.

pub(crate) mod apart;
mod arguments;
pub(crate) mod budget;
pub mod chrony;
pub mod command_line;
mod container;
mod discover;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod host;
mod kind;
pub mod ntp_conf;
pub mod ntpd_rs;
pub mod openntpd;
mod reading_builder;
mod sightings;
mod source;
pub(crate) mod speaker;
#[cfg(test)]
mod testing;
pub mod timesyncd;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;
use ntpguard_common::maps::tables::Role;
use serde::{Deserialize, Serialize};

pub(crate) use self::files::open_regular;
pub use self::{
    discover::{Discovered, discover, places},
    files::{Files, OtherRoot, library::Library},
    kind::Kind,
    sightings::Sightings,
    source::{Source, SourceError},
    speaker::Speaker,
};
pub use crate::problem::{Place, Problem, Severity};
use crate::scope::Scoped;

/// A reader of one daemon's configuration.
pub trait Dialect {
    /// The dialect's name, as `--source NAME:FILE` has it.
    fn name(&self) -> &'static str;

    /// Reads the configuration whose main file is `path`, with everything it includes, all of it
    /// among `files`.
    ///
    /// There is always a reading: what could not be read is among its problems.
    fn read_from(&self, files: &dyn Library, path: &Path) -> Reading;

    /// Reads a configuration that is named by hand.
    fn read(&self, path: &Path) -> Reading {
        self.read_from(&Files::by_hand(path, Speaker::Root), path)
    }
}

/// `address` if it can be another host's.
pub(crate) fn unicast(address: IpAddr) -> Option<IpAddr> {
    host::unicast(address, Family::Any).ok()
}

/// Which addresses of a name count.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// A records only.
    V4,
    /// AAAA records only.
    V6,
}

/// A host that a configuration file names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    /// By its address.
    Address(Scoped<IpAddr>),
    /// By a name, to be resolved.
    Name(String),
}

/// One thing that a configuration file asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// A time source.
    Source {
        /// The host.
        host: Host,
        /// Which of its addresses count.
        family: Family,
        /// The port that it is asked at: 123, but for chrony's `port` and ntpd-rs's `HOST:PORT`.
        port: u16,
        /// What it may be: `server`, or `peer` (with `server`, as a peer is polled too), or `broadcast`.
        roles: Vec<Role>,
        /// Where it says so.
        place: Place,
    },
    /// Hosts that may use this one: `client` or `control`, or nothing at all.
    Prefix {
        /// Which hosts.
        prefix: IpNet,
        /// What they may be; an empty list denies what a wider prefix grants.
        roles: Vec<Role>,
        /// Where it says so.
        place: Place,
    },
}

impl Want {
    /// Where the file says so.
    pub const fn place(&self) -> &Place {
        match self {
            Self::Source { place, .. } | Self::Prefix { place, .. } => place,
        }
    }
}

/// A place where a time daemon answers questions about itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// chronyd's command port, 0 where it has none.
    ChronyPort(u16),
    /// ntpd-rs's observation socket.
    Observation(PathBuf),
}

/// Everything one configuration says, includes and all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What it asks for, in the order of its lines.
    pub wants: Vec<Want>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// Whose word each file is. That of a file that is not here counts least.
    pub speakers: BTreeMap<Arc<Path>, Speaker>,
    /// Files that cannot be read, besides those of its problems: what they asked for stays.
    pub unreadable: Vec<Arc<Path>>,
    /// Where it has its daemon listen for questions, if it says so.
    pub channels: Vec<Channel>,
    /// The files it is made of, and those and the directories it would read if they existed:
    /// a change to any of them calls for a new reading.
    pub watched: Vec<PathBuf>,
    /// Whether a part was not read, for a reason that may be gone in a moment.
    pub is_unfinished: bool,
}

impl Reading {
    /// Whose word a file is.
    pub fn speaker(&self, file: &Path) -> Speaker {
        let known = self.speakers.get(file).copied();
        known.unwrap_or_else(Speaker::least)
    }
}
