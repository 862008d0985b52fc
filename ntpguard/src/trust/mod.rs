//! Trusted senders: the processes whose NTP requests admit their replies, whatever the allowlist
//! says. The kernel knows a sender by its cgroup and uid, or where that was asked for by its uid
//! alone.
//!
//! By default these are the time daemons: [`known`] names their services, [`processes`] finds those
//! that run. What is found counts only in the cgroup of a `service`, into which only root can put
//! processes (`ownership`), and there for root and the daemon's account, since jobs
//! of users may share it. [`own`] makes a cgroup where the service manager makes none.

mod blind;
pub mod cgroup;
pub mod chosen;
mod forwarding;
mod guests;
pub mod known;
pub mod own;
mod ownership;
mod refusal;
mod service;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use ntpguard_common::maps::trusted::{self, DEEPEST, UNKNOWN_DEPTH};

use self::cgroup::Hierarchy;
pub use self::{
    blind::Blind,
    chosen::{Trust, TrustError},
    ownership::Changeable,
    refusal::{Refusal, Untrusted},
};
use crate::{
    lookup::Lookup,
    processes::{self, Namespace, TimeDaemon, Users},
};

/// Below which the files of this host are.
const ROOT_DIRECTORY: &str = "/";

/// Where the processes are told.
const PROC: &str = "/proc";

/// What a trusted daemon shares with this process. A container's has processes of its own; in another
/// network namespace it asks through other interfaces.
const OURS: [Namespace; 3] = [Namespace::Process, Namespace::User, Namespace::Network];

const ROOT: u32 = 0;

/// Most accounts that count in a well-known daemon's cgroup before its process is seen, so that there is
/// room for the process's own.
const EXPECTED_ACCOUNTS: usize = trusted::UIDS - 2;

/// The directory of a cgroup whose processes are all in another network namespace than this process: a
/// guest's or container's, which a bridge, macvlan or ipvlan lets out as what they are.
pub(crate) fn guest(hierarchy: &Hierarchy, cgroup: &Path) -> Option<PathBuf> {
    let path = hierarchy.path(cgroup);
    guests::are_elsewhere(&path, Path::new(PROC)).then_some(path)
}

/// Whom to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Senders {
    /// The units and cgroups that were named; the well-known daemons' where empty.
    pub named: Vec<Trust>,
    /// Whoever made the socket; never root.
    pub uids: BTreeSet<u32>,
    /// Whether it does not matter who is trusted: all requests admit their replies, or none do.
    pub is_moot: bool,
}

/// Who is trusted at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The cgroups, by their numbers.
    pub trusted_senders: BTreeMap<u64, TrustedSender>,
    /// Time daemons in a cgroup that cannot be trusted.
    pub untrusted: Vec<Untrusted>,
    /// What keeps others from being seen.
    pub blind: Vec<Blind>,
    /// Whether any time daemon runs, trusted or not.
    pub daemon_runs: bool,
}

/// A trusted cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedSender {
    /// The cgroup, from the root of its hierarchy: `/system.slice/chrony.service`.
    pub cgroup: PathBuf,
    /// What made it trusted.
    pub why: String,
    /// How many cgroups above it there are; `None` where this process does not see all of them.
    pub depth: Option<u32>,
    /// The uids whose sockets count there; `None` for all, as in a cgroup that was named.
    pub uids: Option<BTreeSet<u32>>,
}

impl Senders {
    /// Looks for the trusted senders there are now.
    pub fn find(&self) -> Found {
        let running = processes::time_daemons(Path::new(PROC), &OURS);
        let daemons = running.daemons;
        let mut found = Found {
            daemon_runs: !daemons.is_empty(),
            ..Found::default()
        };
        match Hierarchy::mounted() {
            Lookup::Found(hierarchy) if self.named.is_empty() => {
                found.find_daemons(&hierarchy, &daemons);
            }
            Lookup::Found(hierarchy) => found.find_named(&hierarchy, &self.named, &daemons),
            missing => found.without_hierarchy(missing, &daemons),
        }
        // Where senders are named, none has to be found.
        if self.named.is_empty() {
            let findings = running.findings.into_iter();
            found.blind.extend(findings.map(Blind::Processes));
        }
        found.blind.extend(forwarding::findings());
        self.leave_out_what_is_cured(&mut found, &daemons);
        found
    }

    /// Leaves out what is no finding where requests are trusted by their uids, or whoever sends them.
    fn leave_out_what_is_cured(&self, found: &mut Found, daemons: &[TimeDaemon]) {
        let is_trusted = |untrusted: &Untrusted| {
            let mut its = daemons
                .iter()
                .filter(|daemon| name(daemon) == untrusted.daemon);
            its.any(|daemon| daemon.uids.iter().any(|uid| self.uids.contains(uid)))
        };
        found.untrusted.retain(|untrusted| !is_trusted(untrusted));
        if self.is_moot {
            found.untrusted.clear();
            found.blind.clear();
        } else if !self.uids.is_empty() {
            let is_of_cgroups =
                |blind: &Blind| matches!(blind, Blind::NoHierarchy | Blind::HierarchyRefused(_));
            found.blind.retain(|blind| !is_of_cgroups(blind));
        }
    }

    /// The cgroups whose coming and going changes what [`Self::find`] finds at once.
    pub fn watched(&self) -> Vec<PathBuf> {
        let Some(hierarchy) = Hierarchy::mounted().found() else {
            return Vec::new();
        };
        if self.named.is_empty() {
            let cgroups = known::DAEMONS.iter().flat_map(known::Known::cgroups);
            return cgroups.map(|cgroup| hierarchy.path(&cgroup)).collect();
        }
        let path = |trust: &Trust| trust.path(&hierarchy);
        self.named.iter().map(path).collect()
    }
}

impl Found {
    /// The trusted cgroups as the kernel is to know them.
    pub fn for_kernel(&self) -> BTreeMap<u64, trusted::TrustedCgroup> {
        let trusted_senders = self.trusted_senders.iter();
        trusted_senders
            .map(|(id, sender)| (*id, sender.for_kernel()))
            .collect()
    }

    /// Trusts what was named, if it exists. A time daemon that runs elsewhere is not.
    fn find_named(&mut self, hierarchy: &Hierarchy, named: &[Trust], daemons: &[TimeDaemon]) {
        let mut cgroups = Vec::new();
        for trust in named {
            let path = trust.path(hierarchy);
            let trust = trust.clone();
            match (hierarchy.name(&path), cgroup::id(&path)) {
                (Some(cgroup), Lookup::Found(_)) => {
                    self.trust(hierarchy, cgroup.clone(), format!("--trust {trust}"), None);
                    if forwarding::is_on() && guests::are_elsewhere(&path, Path::new(PROC)) {
                        self.blind.push(Blind::OtherNetwork { trust, path });
                    }
                    cgroups.push(cgroup);
                }
                (_, Lookup::Refused(error)) => self.blind.push(Blind::CgroupRefused {
                    trust,
                    path,
                    why: error.to_string(),
                }),
                (None, _) | (_, Lookup::Absent) => self.blind.push(Blind::NoCgroup { trust, path }),
            }
        }
        for daemon in daemons {
            let cgroup = cgroup::of_process(&daemon.cgroups().unwrap_or_default());
            let is_named = |cgroup: &PathBuf| cgroups.iter().any(|named| cgroup.starts_with(named));
            if !cgroup.as_ref().is_some_and(is_named) {
                self.refuse(daemon, not_named(hierarchy, cgroup.as_deref()));
            }
        }
    }

    /// Says that there is nothing to tell senders by.
    fn without_hierarchy(&mut self, missing: Lookup<Hierarchy>, daemons: &[TimeDaemon]) {
        self.blind.push(match missing {
            Lookup::Refused(error) => Blind::HierarchyRefused(error.to_string()),
            _ => Blind::NoHierarchy,
        });
        for daemon in daemons {
            self.refuse(daemon, Refusal::NoHierarchy);
        }
    }

    /// Trusts the services of well-known daemons, and those that time daemons run in.
    fn find_daemons(&mut self, hierarchy: &Hierarchy, daemons: &[TimeDaemon]) {
        let users = Users::read(Path::new(ROOT_DIRECTORY));
        for known in &known::DAEMONS {
            for cgroup in known.cgroups() {
                let expected = known.accounts.iter().filter_map(|name| users.uid(name));
                let uids: Vec<u32> = expected.take(EXPECTED_ACCOUNTS).collect();
                // One that is not fit is said to be when a daemon runs there, under whatever account.
                if let Ok(true) = check(hierarchy, &cgroup, &uids) {
                    let name = cgroup.file_name().unwrap_or_default();
                    let why = name.to_string_lossy().into_owned();
                    self.trust(hierarchy, cgroup, why, Some(with_root(uids)));
                }
            }
        }
        for daemon in daemons {
            let uids = daemon.uids.clone();
            let checked = service_of(hierarchy, daemon)
                .and_then(|service| Ok((check(hierarchy, &service, &uids)?, service)));
            match checked {
                Ok((true, service)) => {
                    self.trust(hierarchy, service, name(daemon), Some(with_root(uids)));
                }
                // It ended meanwhile.
                Ok((false, _)) => {}
                Err(refusal) => self.refuse(daemon, refusal),
            }
        }
    }

    /// Trusts a cgroup, if it exists; for more uids if it is trusted already.
    fn trust(
        &mut self,
        hierarchy: &Hierarchy,
        cgroup: PathBuf,
        why: String,
        uids: Option<BTreeSet<u32>>,
    ) {
        let Some(id) = cgroup::id(&hierarchy.path(&cgroup)).found() else {
            return;
        };
        let depth = hierarchy.depth(&cgroup);
        let sender = self
            .trusted_senders
            .entry(id)
            .or_insert_with(|| TrustedSender {
                cgroup,
                why,
                depth,
                uids: uids.clone(),
            });
        match (&mut sender.uids, uids) {
            (Some(held), Some(more)) => held.extend(more),
            (held, _) => *held = None,
        }
    }

    fn refuse(&mut self, daemon: &TimeDaemon, refusal: Refusal) {
        let daemon = name(daemon);
        self.untrusted.push(Untrusted { daemon, refusal });
    }
}

impl TrustedSender {
    fn for_kernel(&self) -> trusted::TrustedCgroup {
        let uids: Vec<u32> = self.uids.iter().flatten().copied().collect();
        let last = uids.last().copied().unwrap_or(ROOT);
        trusted::TrustedCgroup {
            since: 0,
            depth: self.depth.unwrap_or(UNKNOWN_DEPTH),
            any_uid: u32::from(self.uids.is_none()),
            uids: std::array::from_fn(|place| uids.get(place).copied().unwrap_or(last)),
        }
    }
}

/// Why a daemon that runs in `cgroup` is not trusted where others were named.
fn not_named(hierarchy: &Hierarchy, cgroup: Option<&Path>) -> Refusal {
    match cgroup {
        None => Refusal::Elsewhere,
        Some(cgroup) if cgroup == Path::new("/") => Refusal::Root,
        Some(cgroup) if cgroup::is_outside(cgroup) => Refusal::Elsewhere,
        Some(cgroup) => {
            let service = service::of(cgroup);
            Refusal::NotNamed(hierarchy.path(service.as_deref().unwrap_or(cgroup)))
        }
    }
}

/// The service that a daemon runs in.
fn service_of(hierarchy: &Hierarchy, daemon: &TimeDaemon) -> Result<PathBuf, Refusal> {
    let cgroups = daemon.cgroups().unwrap_or_default();
    let Some(cgroup) = cgroup::of_process(&cgroups) else {
        return Err(Refusal::Elsewhere);
    };
    if cgroup == Path::new("/") {
        return Err(Refusal::Root);
    }
    let service = service::of(&cgroup).ok_or_else(|| {
        if cgroup::is_outside(&cgroup) {
            Refusal::Elsewhere
        } else {
            Refusal::NoService(hierarchy.path(&cgroup))
        }
    })?;
    match hierarchy.depth(&service) {
        Some(depth) if depth > DEEPEST => Err(Refusal::TooDeep(hierarchy.path(&service))),
        _ => Ok(service),
    }
}

/// Whether the cgroup of a service exists; an error if others than root and `accounts` can put
/// processes into it.
fn check(hierarchy: &Hierarchy, service: &Path, accounts: &[u32]) -> Result<bool, Refusal> {
    let cgroup = || hierarchy.path(service);
    match ownership::changeable(hierarchy, service, accounts) {
        Ok(None) => Ok(true),
        Ok(Some(changeable)) => Err(Refusal::Changeable {
            cgroup: cgroup(),
            changeable,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Refusal::Unreadable {
            cgroup: cgroup(),
            why: error.to_string(),
        }),
    }
}

fn with_root(accounts: Vec<u32>) -> BTreeSet<u32> {
    std::iter::once(ROOT).chain(accounts).collect()
}

fn name(daemon: &TimeDaemon) -> String {
    format!("{} (pid {})", daemon.program.name(), daemon.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(uids: Option<&[u32]>, depth: Option<u32>) -> trusted::TrustedCgroup {
        let sender = TrustedSender {
            cgroup: "/x".into(),
            why: String::new(),
            depth,
            uids: uids.map(|uids| uids.iter().copied().collect()),
        };
        sender.for_kernel()
    }

    #[test]
    fn the_kernel_knows_no_uids_but_those_that_count() {
        let some = sender(Some(&[0, 102]), Some(2));
        assert_eq!((some.depth, some.any_uid), (2, 0));
        assert_eq!(some.uids, [0, 102, 102, 102]);
        assert_eq!(sender(Some(&[0]), Some(1)).uids, [0; trusted::UIDS]);
        assert_eq!(sender(Some(&[0, 1, 2, 3, 4]), None).uids, [0, 1, 2, 3]);
        assert_eq!(sender(Some(&[0]), None).depth, UNKNOWN_DEPTH);
        assert_eq!(sender(None, Some(1)).any_uid, 1);
    }

    #[test]
    fn a_cgroup_that_is_found_twice_is_trusted_for_the_uids_of_both() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("a")).unwrap();
        let hierarchy = Hierarchy::at(directory.path());
        let mut found = Found::default();
        let mut trust = |uids: Option<Vec<u32>>| {
            let uids = uids.map(with_root);
            found.trust(&hierarchy, "/a".into(), String::new(), uids);
            let sender = found.trusted_senders.values().next().unwrap();
            assert_eq!(sender.depth, Some(1));
            let uids = sender.uids.clone();
            uids.map(|uids| uids.into_iter().collect::<Vec<u32>>())
        };
        assert_eq!(trust(Some(vec![102])), Some(vec![0, 102]));
        assert_eq!(trust(Some(vec![105])), Some(vec![0, 102, 105]));
        assert_eq!(trust(None), None);
        assert_eq!(trust(Some(vec![106])), None);
    }
}
