//! The lock on a pin directory, under which it and the state file are changed.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{PinDir, bpffs, make_dir};
use crate::datapath::Error;

/// How often a lock that somebody holds is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(20);

impl PinDir {
    /// Takes the lock under which the directory and the state file are changed, waiting at most
    /// `wait` for whoever holds it. The lock ends with the value returned, or the process.
    pub fn lock(&self, wait: Duration) -> Result<Lock, Error> {
        let start = Instant::now();
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            if start.elapsed() >= wait {
                return Err(self.locked(wait));
            }
            thread::sleep(LOCK_RETRY.min(wait));
        }
    }

    /// As [`Self::lock`], for a task that has more to wait for.
    pub async fn lock_async(&self, wait: Duration) -> Result<Lock, Error> {
        let start = Instant::now();
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            if start.elapsed() >= wait {
                return Err(self.locked(wait));
            }
            tokio::time::sleep(LOCK_RETRY).await;
        }
    }

    /// Whether a process has the lock now: a daemon, one that starts, or a command.
    pub fn is_locked(&self) -> bool {
        let Ok(dir) = File::open(&self.0) else {
            return false;
        };
        flock(dir, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    }

    fn locked(&self, waited: Duration) -> Error {
        Error::Locked {
            pin_dir: self.0.clone(),
            waited,
        }
    }

    fn try_lock(&self) -> Result<Option<Lock>, Error> {
        bpffs::require(&self.0)?;
        make_dir(&self.0)?;
        let failed = |source| Error::system(format!("lock {}", self.0.display()), source);
        let dir = match File::open(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let inode = dir.metadata().map_err(failed)?.ino();
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
            Err(errno) => return Err(failed(errno.into())),
        }
        // Whoever held it may have removed the directory, and another made a new one.
        let still_there = fs::metadata(&self.0).is_ok_and(|now| now.ino() == inode);
        Ok(still_there.then(|| Lock {
            path: self.0.clone(),
            dir: dir.into(),
            is_shared: false,
        }))
    }

    /// The lock of this directory that another process has shared: see [`Lock::share`].
    pub fn shared_lock(&self, dir: OwnedFd) -> Lock {
        Lock {
            path: self.0.clone(),
            dir,
            is_shared: true,
        }
    }
}

/// The lock on a pin directory, held while this value lives. The directory was made for it if there
/// was none, and goes with it if nothing came in.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    dir: OwnedFd,
    /// Whether another process has it too, which goes on with it where this one ends.
    is_shared: bool,
}

impl Lock {
    /// A descriptor that makes the process which has it a holder of this lock, for as long as it has
    /// it (flock(2)): so the lock passes from one to the other with no moment between.
    pub fn share(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Leaves the lock to the process that shares it.
    pub fn leave(mut self) {
        self.is_shared = true;
    }

    /// Has it for this process alone: the other one leaves it.
    pub fn keep(&mut self) {
        self.is_shared = false;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // To unlock it would unlock it for all.
        if self.is_shared {
            return;
        }
        let here = fs::metadata(&self.path).map(|dir| dir.ino());
        let ours = rustix::fs::fstat(&self.dir).map(|dir| dir.st_ino);
        // After an unload the path may be another's directory already.
        if matches!((here, ours), (Ok(here), Ok(ours)) if here == ours) {
            // This fails where it holds anything, and then it is to stay.
            drop(fs::remove_dir(&self.path));
        }
        // Closing it would do, but for processes that were forked from this one.
        flock(&self.dir, FlockOperation::Unlock).ok();
    }
}
