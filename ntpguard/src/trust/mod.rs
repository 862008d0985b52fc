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
mod sender;
mod service;
#[cfg(test)]
mod tests;

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
    sender::{Sender, senders},
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
    /// Where cgroups are.
    pub hierarchy: Option<Hierarchy>,
    /// Why not all could be looked at, where it could not: others may be there.
    pub refused: Option<String>,
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
            refused: running.refused,
            ..Found::default()
        };
        let hierarchy = Hierarchy::mounted();
        if let Lookup::Found(hierarchy) = &hierarchy {
            found.hierarchy = Some(hierarchy.clone());
        }
        match hierarchy {
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
        if let Some(why) = &found.refused
            && found.hierarchy.is_some()
        {
            found.blind.push(Blind::Refused(why.clone()));
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
            let is_of_cgroups = |blind: &Blind| {
                matches!(
                    blind,
                    Blind::NoHierarchy | Blind::HierarchyRefused(_) | Blind::Refused(_)
                )
            };
            found.blind.retain(|blind| !is_of_cgroups(blind));
        }
    }

    /// The cgroups of `hierarchy` whose coming and going changes what [`Self::find`] finds at once.
    pub fn watched(&self, hierarchy: Option<&Hierarchy>) -> Vec<PathBuf> {
        let Some(hierarchy) = hierarchy else {
            return Vec::new();
        };
        if self.named.is_empty() {
            let cgroups = known::DAEMONS.iter().flat_map(known::Known::cgroups);
            return cgroups.map(|cgroup| hierarchy.path(&cgroup)).collect();
        }
        let path = |trust: &Trust| trust.path(hierarchy);
        self.named.iter().map(path).collect()
    }
}

impl Found {
    /// What is known now: what was found, and where not all could be looked at what was known `before`, too.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        if self.refused.is_none() {
            return self;
        }
        for (number, sender) in &before.trusted_senders {
            let known = self.trusted_senders.entry(*number);
            // What is found may lack the accounts of daemons that were not seen.
            known
                .and_modify(|found| found.admit(sender.uids.clone()))
                .or_insert_with(|| sender.clone());
        }
        self.untrusted.clone_from(&before.untrusted);
        self.daemon_runs |= before.daemon_runs;
        self.hierarchy = self.hierarchy.or_else(|| before.hierarchy.clone());
        self
    }

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
                (_, Lookup::Refused(error)) => {
                    let why = error.to_string();
                    self.refused = Some(why.clone());
                    self.blind.push(Blind::CgroupRefused { trust, path, why });
                }
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
        if let Lookup::Refused(error) = missing {
            let why = error.to_string();
            self.refused = Some(why.clone());
            self.blind.push(Blind::HierarchyRefused(why));
            return;
        }
        self.blind.push(Blind::NoHierarchy);
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
                match check(hierarchy, &cgroup, &uids) {
                    Ok(true) => {
                        let name = cgroup.file_name().unwrap_or_default();
                        let why = name.to_string_lossy().into_owned();
                        self.trust(hierarchy, cgroup, why, Some(with_root(uids)));
                    }
                    Err(Refusal::Unreadable { why, .. }) => self.refused = Some(why),
                    // One that is not fit is said to be when a daemon runs there, under whatever account.
                    Ok(false) | Err(_) => {}
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
        let id = match cgroup::id(&hierarchy.path(&cgroup)) {
            Lookup::Found(id) => id,
            Lookup::Absent => return,
            Lookup::Refused(error) => {
                self.refused = Some(error.to_string());
                return;
            }
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
        sender.admit(uids);
    }

    fn refuse(&mut self, daemon: &TimeDaemon, refusal: Refusal) {
        if let Refusal::Unreadable { why, .. } = &refusal {
            self.refused = Some(why.clone());
        }
        let daemon = name(daemon);
        self.untrusted.push(Untrusted { daemon, refusal });
    }
}

impl TrustedSender {
    /// Has more uids count, or all.
    fn admit(&mut self, uids: Option<BTreeSet<u32>>) {
        match (&mut self.uids, uids) {
            (Some(held), Some(more)) => held.extend(more),
            (held, _) => *held = None,
        }
    }

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
