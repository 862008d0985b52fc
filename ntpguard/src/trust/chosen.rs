//! A trusted sender as it is named: `chrony.service`, or the path of a cgroup.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use ntpguard_common::maps::trusted::DEEPEST;
use thiserror::Error;

use super::cgroup::Hierarchy;

/// A sender to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A systemd unit of the system.
    Unit(String),
    /// The directory of a cgroup; it need not exist yet.
    Cgroup(PathBuf),
}

impl Trust {
    /// The directory of its cgroup, which need not exist.
    pub(crate) fn path(&self, hierarchy: &Hierarchy) -> PathBuf {
        match self {
            Self::Unit(unit) => hierarchy.unit(unit),
            Self::Cgroup(path) => path.clone(),
        }
    }
}

/// A name that is no sender's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TrustError {
    /// Neither a unit nor a path.
    #[error(
        "{0:?} is neither a unit (such as chrony.service) nor a cgroup path (such as \
         /sys/fs/cgroup/system.slice/chrony.service)"
    )]
    Unknown(String),
    /// A path elsewhere.
    #[error("{path} is not below {mount}, where cgroups are mounted")]
    Elsewhere {
        /// The path.
        path: PathBuf,
        /// Where cgroup v2 is mounted.
        mount: PathBuf,
    },
    /// The root cgroup.
    #[error("{0} is the root cgroup, which any process can be in: name one below it")]
    Root(PathBuf),
    /// Further down than is looked.
    #[error("{path} is nested too deeply: name one at most {DEEPEST} directories below {mount}")]
    TooDeep {
        /// The path.
        path: PathBuf,
        /// Where cgroup v2 is mounted.
        mount: PathBuf,
    },
    /// No cgroups.
    #[error(
        "no cgroup v2 hierarchy is mounted: mount it with `mount -t cgroup2 none /sys/fs/cgroup`"
    )]
    NoHierarchy,
}

impl FromStr for Trust {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, TrustError> {
        if text.starts_with('/') {
            let hierarchy = Hierarchy::mounted()
                .found()
                .ok_or(TrustError::NoHierarchy)?;
            return cgroup(Path::new(text), &hierarchy);
        }
        let is_unit = !text.is_empty()
            && !text.starts_with('.')
            && text
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || "-_.@:\\".contains(char));
        if !is_unit {
            return Err(TrustError::Unknown(text.to_owned()));
        }
        Ok(Self::Unit(if text.contains('.') {
            text.to_owned()
        } else {
            format!("{text}.service")
        }))
    }
}

fn cgroup(path: &Path, hierarchy: &Hierarchy) -> Result<Trust, TrustError> {
    let climbs = path
        .components()
        .any(|component| component == Component::ParentDir);
    match hierarchy.name(path) {
        Some(name) if name == Path::new("/") => Err(TrustError::Root(path.to_owned())),
        Some(name) if !climbs => match hierarchy.depth(&name) {
            Some(depth) if depth > DEEPEST => Err(TrustError::TooDeep {
                path: path.to_owned(),
                mount: hierarchy.mount().to_owned(),
            }),
            _ => Ok(Trust::Cgroup(path.to_owned())),
        },
        _ => Err(TrustError::Elsewhere {
            path: path.to_owned(),
            mount: hierarchy.mount().to_owned(),
        }),
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(unit) => f.write_str(unit),
            Self::Cgroup(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_unit() {
        let unit = |name: &str| Ok(Trust::Unit(name.to_owned()));
        assert_eq!("chrony.service".parse(), unit("chrony.service"));
        assert_eq!("chrony".parse(), unit("chrony.service"));
        assert_eq!("ntp@eu.service".parse(), unit("ntp@eu.service"));
        for wrong in ["", "..", "a/b", "two words"] {
            assert_eq!(
                wrong.parse::<Trust>(),
                Err(TrustError::Unknown(wrong.to_owned()))
            );
        }
    }

    #[test]
    fn a_path_is_a_cgroup_but_never_the_root_nor_too_deep() {
        let hierarchy = Hierarchy::at("/cg");
        let of = |path: &str| cgroup(Path::new(path), &hierarchy);
        assert_eq!(of("/cg/a/b"), Ok(Trust::Cgroup("/cg/a/b".into())));
        assert_eq!(of("/cg"), Err(TrustError::Root("/cg".into())));
        assert_eq!(of("/cg/"), Err(TrustError::Root("/cg/".into())));
        let deep = |depth: u32| format!("/cg{}", "/a".repeat(depth as usize));
        assert!(of(&deep(DEEPEST)).is_ok());
        assert!(matches!(
            of(&deep(DEEPEST + 1)),
            Err(TrustError::TooDeep { .. })
        ));
        for elsewhere in ["/tmp", "/cg/../tmp", "/cg/a/.."] {
            assert!(
                matches!(of(elsewhere), Err(TrustError::Elsewhere { .. })),
                "{elsewhere}"
            );
        }
    }
}
