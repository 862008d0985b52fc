//! A cgroup for a daemon whose service manager makes none.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{Changeable, cgroup::Hierarchy, ownership, service};

/// Only root may put processes into the cgroup; all may look at it.
const MODE: u32 = 0o755;

/// Most characters of a name.
const LONGEST: usize = 100;

/// What keeps this process from having a cgroup of its own.
#[derive(Debug, Error)]
pub enum OwnError {
    /// Not a name.
    #[error(
        "invalid cgroup name {0:?}: use at most {LONGEST} letters, digits and `-_.@`; choose \
         another with --name"
    )]
    Name(String),
    /// No cgroups.
    #[error("cgroup v2 is not mounted: mount it with `mount -t cgroup2 none /sys/fs/cgroup`")]
    NoHierarchy,
    /// Not permitted.
    #[error("cannot {what} {path}: permission denied; run as root")]
    Privilege {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
    },
    /// The cgroup is somebody else's.
    #[error("{0}, so the guard would not trust it: remove it, or use another --name")]
    Changeable(Changeable),
    /// Anything else.
    #[error("cannot {what} {path}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl OwnError {
    fn system(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Privilege { what, path },
            _ => Self::System { what, path, source },
        }
    }
}

/// Puts this process into the cgroup `/ntpguard.NAME`, made where it does not exist, and returns its
/// directory. What the process executes stays in it.
pub fn enter(name: &str) -> Result<PathBuf, OwnError> {
    let hierarchy = Hierarchy::mounted().found().ok_or(OwnError::NoHierarchy)?;
    let cgroup = cgroup(name)?;
    let directory = hierarchy.path(&cgroup);
    match DirBuilder::new().mode(MODE).create(&directory) {
        // Of an earlier run.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(|source| OwnError::system("create the cgroup", &directory, source))?,
    }
    let changeable = ownership::changeable(&hierarchy, &cgroup, &[])
        .map_err(|source| OwnError::system("examine", &directory, source))?;
    if let Some(changeable) = changeable {
        return Err(OwnError::Changeable(changeable));
    }
    // 0 is the process that writes.
    let processes = directory.join("cgroup.procs");
    fs::write(&processes, "0")
        .map_err(|source| OwnError::system("write to", &processes, source))?;
    Ok(directory)
}

/// The cgroup of this name, from the root of the hierarchy.
fn cgroup(name: &str) -> Result<PathBuf, OwnError> {
    let is_name = !name.is_empty()
        && name.len() <= LONGEST
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "-_.@".contains(char));
    if !is_name {
        return Err(OwnError::Name(name.to_owned()));
    }
    Ok(PathBuf::from(format!("/{}{name}", service::OURS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_makes_a_cgroup_that_counts_as_a_services() {
        for name in ["chronyd", "ntp@eu", "..", "a.b-c_d"] {
            let cgroup = cgroup(name).unwrap();
            assert_eq!(cgroup.parent(), Some(Path::new("/")), "{name}");
            assert_eq!(service::of(&cgroup), Some(cgroup));
        }
        let long = "a".repeat(LONGEST + 1);
        for wrong in ["", "a/b", "../x", "two words", "ü", "a\n", long.as_str()] {
            let error = cgroup(wrong).unwrap_err().to_string();
            assert!(error.contains("--name"), "{error}");
        }
    }
}
