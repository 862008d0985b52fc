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
    /// Processes cannot be looked at, or are not believed.
    Processes(processes::Finding),
}

impl Blind {
    /// The file that it is about.
    pub fn place(&self) -> &Path {
        match self {
            Self::NoHierarchy | Self::HierarchyRefused(_) => Path::new(USUAL),
            Self::NoCgroup { path, .. } | Self::CgroupRefused { path, .. } => path,
            Self::Processes(_) => Path::new(PROC),
        }
    }

    /// Whether senders that are there may be missed for it.
    pub const fn blinds(&self) -> bool {
        match self {
            Self::Processes(finding) => finding.blinds(),
            _ => true,
        }
    }
}

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNTRUSTED: &str =
            "so no time daemon is trusted by its cgroup and only granted servers answer";
        match self {
            Self::NoHierarchy => write!(
                f,
                "this process sees no cgroup v2 mounted, {UNTRUSTED}; mount it \
                 (`mount -t cgroup2 none {USUAL}`), show it to this container, or name the daemon's \
                 account with --trust-uid"
            ),
            Self::HierarchyRefused(why) => write!(
                f,
                "cannot look for cgroups ({why}), {UNTRUSTED}; run as root, or name the daemon's account \
                 with --trust-uid"
            ),
            Self::NoCgroup { trust, .. } => match trust {
                Trust::Unit(unit) => write!(
                    f,
                    "--trust {unit} trusts nothing now: there is no such cgroup; look with `systemctl \
                     status {unit}` whether that is its name and it runs (a unit in a slice of its own \
                     is named by its cgroup's path)"
                ),
                Trust::Cgroup(_) => write!(
                    f,
                    "--trust {trust} trusts nothing now: there is no such cgroup; `systemd-cgls` lists \
                     those there are"
                ),
            },
            Self::CgroupRefused { trust, why, .. } => write!(
                f,
                "--trust {trust} trusts nothing now: cannot look at it ({why}); run as root"
            ),
            Self::Processes(finding) => finding.fmt(f),
        }
    }
}
