//! xdp-loader, of which one can run at a time.
//!
//! It takes a lock by making a file with its process id (`prog_lock_get` in xdp-tools), and another that
//! finds the file gives up. Killed, it leaves the file behind, and none that comes later looks whether
//! that process still runs.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::wait::eventually;

const LOCK: &str = "/run/xdp-loader.lck";
/// What one says that finds the lock taken.
const TAKEN: &str = "Already held by pid";
/// Beyond the kernel's greatest process id, 2^22.
const NO_PROCESS: &str = "99999999";
/// How long others may take.
const FREE_WITHIN: Duration = Duration::from_secs(30);

/// Runs xdp-loader by this function: after another one, and in spite of what a killed one left.
///
/// # Errors
///
/// When it fails, or others do not end.
pub fn when_free<T>(run: impl Fn() -> Result<T>) -> Result<T> {
    eventually(FREE_WITHIN, "the end of another xdp-loader", || {
        remove_stale(Path::new(LOCK))?;
        match run() {
            Err(error) if format!("{error:#}").contains(TAKEN) => Err(error),
            done => Ok(done),
        }
    })?
}

/// Leaves the lock as one does that is killed.
///
/// # Errors
///
/// When others keep it.
pub fn leave_lock() -> Result<()> {
    eventually(FREE_WITHIN, "a free lock", || {
        remove_stale(Path::new(LOCK))?;
        let mut lock = File::create_new(LOCK).with_context(|| format!("cannot make {LOCK}"))?;
        Ok(lock.write_all(NO_PROCESS.as_bytes())?)
    })
}

/// Removes a lock file whose process has ended.
fn remove_stale(lock: &Path) -> Result<()> {
    let cannot = |what| format!("cannot {what} {}", lock.display());
    let text = match fs::read_to_string(lock) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.with_context(|| cannot("read"))?,
    };
    // Empty for the moment between its making and its writing.
    let pid = text.trim();
    if pid.is_empty() || is_xdp_loader(pid) {
        return Ok(());
    }
    eprintln!("{} was left by a killed process, pid {pid}", lock.display());
    match fs::remove_file(lock) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| cannot("remove")),
    }
}

/// Another process may have that number by now.
fn is_xdp_loader(pid: &str) -> bool {
    let name = fs::read_to_string(Path::new("/proc").join(pid).join("comm"));
    name.is_ok_and(|name| name.trim() == "xdp-loader")
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_lock_goes_with_its_process_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("lock");
        remove_stale(&lock).unwrap();
        for (text, stays) in [
            ("", true),
            (NO_PROCESS, false),
            // This process is no xdp-loader.
            (&*std::process::id().to_string(), false),
        ] {
            fs::write(&lock, text).unwrap();
            remove_stale(&lock).unwrap();
            assert_eq!(lock.exists(), stays, "{text:?}");
        }
    }

    #[test]
    fn only_a_lock_is_waited_for() {
        let calls = std::cell::Cell::new(0);
        let done = when_free(|| {
            calls.set(calls.get() + 1);
            if calls.get() < 3 {
                bail!("Unable to get program lock: {TAKEN} 7");
            }
            Ok(calls.get())
        });
        assert_eq!(done.unwrap(), 3);
        calls.set(0);
        let failed: Result<()> = when_free(|| {
            calls.set(calls.get() + 1);
            bail!("Couldn't attach XDP program");
        });
        assert!(failed.is_err());
        assert_eq!(calls.get(), 1);
    }
}
