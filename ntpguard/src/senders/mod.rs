//! Trusted senders: the processes whose NTP requests admit their replies, whatever the allowlist
//! says. The kernel knows a sender by its cgroup, or where that was asked for by its uid.
//!
//! By default these are the time daemons: [`known`] names their units, [`processes`] finds those that
//! run, [`cgroup`] tells the number of a cgroup.

pub mod cgroup;
pub mod forwarding;
pub mod known;
pub mod trust;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use self::cgroup::Hierarchy;
pub use self::trust::{Trust, TrustError};
use crate::processes::{self, Namespace};

/// Where the processes are told.
const PROC: &str = "/proc";

/// What a trusted daemon shares with this process. A container's has processes of its own; in another
/// network namespace it asks through other interfaces.
const OURS: [Namespace; 3] = [Namespace::Process, Namespace::User, Namespace::Network];

/// Whom to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Senders {
    /// The units and cgroups that were named; the well-known daemons' where empty.
    pub named: Vec<Trust>,
    /// Whoever made the socket; never root.
    pub uids: BTreeSet<u32>,
}

/// Who is trusted at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The cgroups, by their numbers.
    pub teachers: BTreeMap<u64, Teacher>,
    /// Time daemons in a cgroup that cannot be trusted, since others are in it too.
    pub indistinct: Vec<String>,
    /// Whether any time daemon runs, trusted or not.
    pub daemon_runs: bool,
}

/// A trusted cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Teacher {
    /// The cgroup, from the root of its hierarchy: `/system.slice/chrony.service`.
    pub cgroup: PathBuf,
    /// What made it trusted.
    pub why: String,
}

impl Senders {
    /// Looks for the trusted senders there are now. A system without cgroup v2 has none.
    pub fn find(&self) -> Found {
        let mut found = Found::default();
        let hierarchy = Hierarchy::mounted();
        let daemons = processes::time_daemons(Path::new(PROC), &OURS);
        found.daemon_runs = !daemons.is_empty();
        let Some(hierarchy) = hierarchy else {
            return found;
        };
        for (path, why) in self.places(&hierarchy) {
            found.trust(&hierarchy, &path, why);
        }
        if self.named.is_empty() {
            for daemon in daemons {
                let told = format!("{} (pid {})", daemon.program.name(), daemon.pid);
                let cgroups = daemon.cgroups().unwrap_or_default();
                match cgroup::of_process(&cgroups) {
                    Some(cgroup) if cgroup != Path::new("/") => {
                        found.trust(&hierarchy, &hierarchy.path(&cgroup), told);
                    }
                    _ => found.indistinct.push(told),
                }
            }
        }
        found
    }

    /// The cgroups whose coming and going changes what [`Self::find`] finds at once.
    pub fn watched(&self) -> Vec<PathBuf> {
        Hierarchy::mounted().map_or_else(Vec::new, |hierarchy| {
            let places = self.places(&hierarchy);
            places.into_iter().map(|(path, _)| path).collect()
        })
    }

    /// The cgroups to trust if they exist, each with what makes it trusted.
    fn places(&self, hierarchy: &Hierarchy) -> Vec<(PathBuf, String)> {
        if self.named.is_empty() {
            return known::UNITS
                .iter()
                .map(|unit| (hierarchy.unit(unit), (*unit).to_owned()))
                .collect();
        }
        self.named
            .iter()
            .map(|trust| {
                let path = match trust {
                    Trust::Unit(unit) => hierarchy.unit(unit),
                    Trust::Cgroup(path) => path.clone(),
                };
                (path, format!("--trust {trust}"))
            })
            .collect()
    }
}

impl Found {
    /// Trusts the cgroup at `path`, if there is one and it is not the root, which everybody is in.
    fn trust(&mut self, hierarchy: &Hierarchy, path: &Path, why: String) {
        let Some(cgroup) = hierarchy.name(path).filter(|name| name != Path::new("/")) else {
            return;
        };
        if let Some(id) = cgroup::id(path) {
            self.teachers.entry(id).or_insert(Teacher { cgroup, why });
        }
    }
}
