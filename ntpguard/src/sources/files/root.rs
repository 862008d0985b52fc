//! The root directories of processes that see other files than this one does.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use super::Identity;

/// The root directory of a process that sees other files than this one does.
#[derive(Debug)]
pub struct OtherRoot {
    /// Its path, `/proc/PID/root`, which paths of its files begin with.
    path: PathBuf,
    /// The directory itself: another process may have the number meanwhile.
    pub(super) directory: OwnedFd,
    identity: Identity,
}

impl OtherRoot {
    /// Opens it.
    ///
    /// # Errors
    /// The process has gone, or may not be looked into.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        let identity = Identity::of(&rustix::fs::fstat(&directory)?);
        Ok(Self {
            path: path.to_owned(),
            directory,
            identity,
        })
    }

    /// Its path, `/proc/PID/root`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl PartialEq for OtherRoot {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, self.identity) == (&other.path, other.identity)
    }
}

impl Eq for OtherRoot {}

/// The root directory `/proc/PID/root` that `file` is below, if it is below one.
pub(super) fn own_root(file: &Path) -> Option<&Path> {
    file.ancestors().find(|root| {
        let names: Vec<_> = root.components().rev().take(3).collect();
        let [last, pid, proc] = names.as_slice() else {
            return false;
        };
        let is_number = pid
            .as_os_str()
            .to_str()
            .is_some_and(|pid| pid.parse::<u32>().is_ok());
        last.as_os_str() == "root" && is_number && proc.as_os_str() == "proc"
    })
}
