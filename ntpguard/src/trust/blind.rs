//! What keeps trusted senders from being seen, or what was named from being anything, each with its cure.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::Trust;
use crate::processes;

/// Where cgroups are, where nothing else is known.
const USUAL: &str = "/sys/fs/cgroup";

/// Where the processes are.
const PROC: &str = "/proc";

/// Something that the administrator should know of the looking itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blind {
    /// This process sees no cgroup v2.
    NoHierarchy,
    /// It may not look for one, for this reason.
    HierarchyRefused(String),
    /// Not all could be looked at, for this reason: what was found before counts.
    Refused(String),
    /// What was named is not there.
    NoCgroup {
        /// As it was named.
        trust: Trust,
        /// Where it would be.
        path: PathBuf,
    },
    /// What was named cannot be looked at, for this reason.
    CgroupRefused {
        /// As it was named.
        trust: Trust,
        /// Where it is.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What was named asks through other interfaces than this host's.
    OtherNetwork {
        /// As it was named.
        trust: Trust,
        /// Where it is.
        path: PathBuf,
    },
    /// This host forwards packets of a family.
    Forwards {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// What says so.
        switch: &'static Path,
    },
    /// Whether it does cannot be looked at, for this reason.
    ForwardingRefused {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// What would say so.
        switch: &'static Path,
        /// Why.
        why: String,
    },
    /// Processes cannot be looked at, or are not believed.
    Processes(processes::Finding),
}

impl Blind {
    /// The file that it is about.
    pub fn place(&self) -> &Path {
        match self {
            Self::NoHierarchy | Self::HierarchyRefused(_) => Path::new(USUAL),
            Self::NoCgroup { path, .. }
            | Self::CgroupRefused { path, .. }
            | Self::OtherNetwork { path, .. } => path,
            Self::Forwards { switch, .. } | Self::ForwardingRefused { switch, .. } => switch,
            Self::Processes(_) | Self::Refused(_) => Path::new(PROC),
        }
    }

    /// Whether senders that are there may be missed for it.
    pub const fn blinds(&self) -> bool {
        match self {
            Self::Processes(finding) => finding.blinds(),
            // A gateway may have no one behind it that asks for the time.
            Self::Forwards { .. } => false,
            _ => true,
        }
    }
}

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNTRUSTED: &str = "so no time daemon is trusted by its cgroup, and only replies from granted servers \
             are admitted";
        match self {
            Self::NoHierarchy => write!(
                f,
                "no cgroup v2 file system is mounted, {UNTRUSTED}; mount it (`mount -t cgroup2 \
                 none {USUAL}`), make it visible in this container, or name the daemon's account \
                 with --trust-uid"
            ),
            Self::HierarchyRefused(why) => write!(
                f,
                "cannot search for cgroups ({why}), so time daemons are trusted by their cgroups only as far \
                 as they were before; run as root, or name the daemon's account with --trust-uid"
            ),
            Self::Refused(why) => write!(
                f,
                "cannot search for time daemons ({why}): those trusted before stay trusted, and no others are; \
                 run as root, and let this process have more files and memory"
            ),
            Self::NoCgroup { trust, .. } => match trust {
                Trust::Unit(unit) => write!(
                    f,
                    "--trust {unit} has no effect now: no such cgroup; check its name and that it \
                     runs with `systemctl status {unit}` (name a unit in its own slice by its \
                     cgroup's path)"
                ),
                Trust::Cgroup(_) => write!(
                    f,
                    "--trust {trust} has no effect now: no such cgroup; `systemd-cgls` lists them"
                ),
            },
            Self::CgroupRefused { trust, why, .. } => write!(
                f,
                "--trust {trust} has no effect now: cannot inspect it ({why}); run as root"
            ),
            Self::OtherNetwork { trust, .. } => write!(
                f,
                "--trust {trust} does not cover forwarded packets: its processes are in their own \
                 network namespace, and a forwarded packet has no known sender; run it in the \
                 host's network (`--network host`), or admit replies to all requests (--learn \
                 any)"
            ),
            Self::Forwards { family, .. } => write!(
                f,
                "this host forwards {family}: the hosts behind it (containers, guests, a network) \
                 get replies from granted servers only; --learn any admits replies to all \
                 requests"
            ),
            Self::ForwardingRefused { family, why, .. } => write!(
                f,
                "cannot determine whether this host forwards {family} ({why}): if it does, the \
                 hosts behind it get replies from granted servers only; --learn any admits \
                 replies to all requests"
            ),
            Self::Processes(finding) => finding.fmt(f),
        }
    }
}
