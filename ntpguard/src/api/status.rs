//! The answer to `ntpguard status`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use ntpguard_common::reason::{Counters, Reason};
use serde::{Deserialize, Serialize};

pub use super::{
    attachments::{Finding, Interface},
    traffic::Traffic,
};
use crate::{
    allowlist::projection::Projection,
    clock::BootSeconds,
    confine::Confinement,
    datapath::{Error, Mode, Survey, Tables},
    readers::ReadersStatus,
    resolve::NameStatus,
    sources::{self, Family, Problem},
};

/// The number of these layouts, in every JSON document as `schema`.
pub const SCHEMA: u32 = 1;

/// The answer to `ntpguard status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Whether the programs are attached to at least one interface.
    pub guarding: bool,
    /// Whether every name has been resolved, or tried in vain, at least once.
    pub settled: bool,
    /// `enforce` or `monitor`; absent while nothing is loaded.
    pub mode: Option<String>,
    /// Seconds since the programs were loaded.
    pub loaded_seconds_ago: Option<u32>,
    /// The daemon, while one lives.
    pub daemon: Option<Daemon>,
    /// That a daemon lives and does not answer, and what to do; all else is what the kernel shows then.
    #[serde(default)]
    pub unanswered: Option<String>,
    /// The guarded interfaces.
    pub interfaces: Vec<Interface>,
    /// What differs from what should be attached and pinned, as the kernel says.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// How much is granted.
    pub grants: Grants,
    /// Packets admitted and dropped, by reason.
    pub enforced: BTreeMap<String, u64>,
    /// What monitor mode would have done, by reason.
    pub monitored: BTreeMap<String, u64>,
    /// Requests, replies and senders.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// The configurations that are read.
    pub sources: Vec<Source>,
    /// The names in them.
    pub names: Vec<Name>,
    /// What is wrong with the configurations.
    pub problems: Vec<Problem>,
    /// Why the tables or the state file are not as they should be; absent while they are.
    pub trouble: Option<String>,
}

impl Status {
    /// What the kernel tells of the tables: mode, age and counters.
    pub fn of_tables(tables: &Tables, now: BootSeconds) -> Result<Self, Error> {
        let info = tables.info()?;
        let loaded = BootSeconds::from_nanoseconds(info.loaded);
        Ok(Self {
            schema: SCHEMA,
            mode: Some(Mode::from_number(info.mode).name().to_owned()),
            loaded_seconds_ago: Some(now.since(loaded)),
            enforced: by_reason(&tables.counters(Mode::Enforce)?),
            monitored: by_reason(&tables.counters(Mode::Monitor)?),
            traffic: Traffic::of_tables(tables, now)?,
            ..Self::default()
        })
    }

    /// What is pinned, whether a daemon lives or not.
    pub fn of_survey(survey: &Survey, now: BootSeconds) -> Result<Self, Error> {
        let mut status = match &survey.tables {
            Some(tables) => Self::of_tables(tables, now)?,
            None => Self {
                schema: SCHEMA,
                ..Self::default()
            },
        };
        if let Some(tables) = &survey.tables {
            status.grants = Grants::of(&tables.read()?);
        }
        status.guarding = survey.is_guarding();
        status.interfaces = survey.interfaces.iter().map(Interface::of_pinned).collect();
        status.findings = survey.findings.iter().map(Finding::of).collect();
        Ok(status)
    }
}

/// The process that keeps the tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// What holds it back; absent where the kernel does not show it.
    pub confinement: Option<Confinement>,
    /// What holds the processes back that parse for it; absent from a daemon that has none.
    #[serde(default)]
    pub readers: Option<ReadersStatus>,
}

/// How much is granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Single addresses, those of servers at other ports than 123 among them: each address once.
    pub addresses: usize,
    /// Prefixes.
    pub prefixes: usize,
}

impl Grants {
    /// Counts what the tables hold.
    pub fn of(projection: &Projection) -> Self {
        let servers = projection.endpoints.keys().map(SocketAddr::ip);
        let only_elsewhere: BTreeSet<IpAddr> = servers
            .filter(|server| !projection.addresses.contains_key(server))
            .collect();
        Self {
            addresses: projection.addresses.len() + only_elsewhere.len(),
            prefixes: projection.prefixes.len(),
        }
    }
}

/// A configuration that is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The dialect it is read in.
    pub dialect: String,
    /// Its main file.
    pub path: PathBuf,
    /// Why it is read.
    pub why: String,
}

impl Source {
    /// Tells of a source.
    pub fn of(source: &sources::Source) -> Self {
        Self {
            dialect: source.kind.name().to_owned(),
            path: source.path.clone(),
            why: source.why.clone(),
        }
    }
}

/// How a name fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// The name.
    pub name: String,
    /// Which of its addresses count.
    pub family: Family,
    /// How many addresses are held for it.
    pub addresses: usize,
    /// How many of these an earlier run knew and DNS has not named since.
    pub saved: usize,
    /// Seconds until it is asked again; absent while it is being asked.
    pub next_in: Option<u32>,
    /// Seconds since DNS last answered with addresses; absent where it has not yet.
    pub resolved_seconds_ago: Option<u32>,
    /// Seconds for which every question has failed; absent while they succeed.
    pub failing_for: Option<u32>,
    /// Why the last question failed, if it did.
    pub error: Option<String>,
    /// Addresses of the last answer that no server can have, each with what it is.
    pub refused: Vec<String>,
    /// How many addresses the caps have left out so far.
    pub over_cap: u64,
}

impl Name {
    /// Tells of a name at `now`.
    pub fn of(status: NameStatus, now: BootSeconds) -> Self {
        let ago = |at: BootSeconds| now.since(at);
        Self {
            name: status.question.name,
            family: status.question.family,
            addresses: status.addresses,
            saved: status.saved,
            next_in: status.next_in,
            resolved_seconds_ago: status.resolved_at.map(ago),
            failing_for: status.failing_since.map(ago),
            error: status.last_error,
            refused: status
                .refused
                .iter()
                .map(|(address, what)| format!("{address} ({what})"))
                .collect(),
            over_cap: status.over_cap,
        }
    }
}

/// The counters as JSON has them: every reason by its name, zeros included.
pub fn by_reason(counters: &Counters) -> BTreeMap<String, u64> {
    Reason::ALL
        .iter()
        .map(|reason| (reason.name().to_owned(), counters.get(*reason)))
        .collect()
}

#[cfg(test)]
mod tests {
    use ntpguard_common::maps::tables::Grant;

    use super::*;

    #[test]
    fn a_server_at_other_ports_is_one_address_that_is_granted() {
        let mut projection = Projection::default();
        let grant = Grant::default();
        for address in ["192.0.2.1", "192.0.2.2"] {
            projection.addresses.insert(address.parse().unwrap(), grant);
        }
        for server in ["192.0.2.2:1123", "192.0.2.3:1123", "192.0.2.3:4123"] {
            projection.endpoints.insert(server.parse().unwrap(), grant);
        }
        let granted = Grants::of(&projection);
        assert_eq!((granted.addresses, granted.prefixes), (3, 0));
    }
}
