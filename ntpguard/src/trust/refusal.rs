//! Why a time daemon that runs is not trusted as a sender, and what to do about it.

use std::{fmt, path::PathBuf};

use super::Changeable;

/// A time daemon that is not trusted: only servers that are granted answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untrusted {
    /// The daemon: `chronyd (pid 12)`.
    pub daemon: String,
    /// Why it is not.
    pub refusal: Refusal,
}

/// What is wrong with the cgroup of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are no cgroups to tell senders by.
    NoHierarchy,
    /// It is the root.
    Root,
    /// It is in another cgroup namespace.
    Elsewhere,
    /// It is no service's.
    NoService(PathBuf),
    /// Others were named to be trusted, and not this one.
    NotNamed(PathBuf),
    /// Others can put processes into it.
    Changeable {
        /// Its directory.
        cgroup: PathBuf,
        /// What they can write.
        changeable: Changeable,
    },
    /// It is further below the root than the kernel's programs look.
    TooDeep(PathBuf),
    /// It cannot be looked at.
    Unreadable {
        /// Its directory.
        cgroup: PathBuf,
        /// Why.
        why: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHierarchy => f.write_str("cgroup v2 is not mounted"),
            Self::Root => f.write_str("it runs in the root cgroup, as any process can"),
            Self::Elsewhere => f.write_str("its cgroup is outside this cgroup namespace"),
            Self::NoService(cgroup) => {
                write!(
                    f,
                    "its cgroup is not that of a service: {}",
                    cgroup.display()
                )
            }
            Self::NotNamed(cgroup) => {
                write!(
                    f,
                    "--trust names other cgroups, and it runs in {}",
                    cgroup.display()
                )
            }
            Self::Changeable { changeable, .. } => changeable.fmt(f),
            Self::TooDeep(cgroup) => {
                write!(f, "its cgroup is nested too deeply: {}", cgroup.display())
            }
            Self::Unreadable { cgroup, why } => {
                write!(f, "cannot examine its cgroup {}: {why}", cgroup.display())
            }
        }
    }
}

impl Refusal {
    /// What makes the daemon trusted.
    pub fn cure(&self) -> String {
        const EXEC: &str = "start it with `ntpguard exec -- COMMAND`";
        match self {
            Self::NoHierarchy => {
                format!("mount it (`mount -t cgroup2 none /sys/fs/cgroup`), and {EXEC}")
            }
            Self::Root | Self::Elsewhere | Self::TooDeep(_) => EXEC.to_owned(),
            Self::NotNamed(cgroup) => format!("add `--trust {}`", cgroup.display()),
            Self::NoService(cgroup)
            | Self::Changeable { cgroup, .. }
            | Self::Unreadable { cgroup, .. } => {
                format!(
                    "{EXEC}, or trust every process there with `--trust {}`",
                    cgroup.display()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_that_can_be_named_is_named_in_the_cure() {
        let session = Refusal::NoService("/cg/user.slice".into());
        assert!(session.cure().contains("--trust /cg/user.slice`"));
        assert!(!Refusal::Root.cure().contains("--trust"));
    }
}
