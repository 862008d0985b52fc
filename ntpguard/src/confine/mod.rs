//! What `ntpguard run` gives up for good before it reads a word from outside.
//!
//! It keeps the capabilities that guarding takes and drops the others, can gain none again, and asks
//! the kernel to refuse the system calls that it never makes. What parses words from outside gives up
//! more, in processes of its own ([`crate::readers`]).

pub(crate) mod apart;
mod capabilities;
mod inherited;
mod system_calls;
mod work;

use std::{
    fmt, fs, io,
    sync::atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{capabilities::Needs, inherited::close_inherited, work::Work};

/// What holds a process back, as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The capabilities in effect, by their names.
    pub capabilities: Vec<String>,
    /// Whether no program that it executes could have more privileges.
    pub no_new_privileges: bool,
    /// Whether system calls are filtered by what ntpguard installed: a container's own filter is no such.
    pub system_calls_filtered: bool,
}

/// What could not be given up.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// Capabilities.
    #[error("cannot drop {what}: {source}")]
    Capabilities {
        /// Which set of them.
        what: &'static str,
        /// What the kernel said.
        source: caps::errors::CapsError,
    },
    /// The filter of system calls.
    #[error("the kernel cannot filter system calls: {0}")]
    SystemCalls(#[from] seccompiler::Error),
    /// What the kernel shows of this process.
    #[error("cannot read /proc/self/status: {0}")]
    Status(#[from] io::Error),
}

/// What it shows of system calls where a filter is in force (`SECCOMP_MODE_FILTER`).
const FILTERED: &str = "2";

/// Whether this process has installed its filter, which stays for good.
static IS_FILTERED: AtomicBool = AtomicBool::new(false);

/// Confines this process, which must have one thread only, and says what could not be had. The rest is
/// in force all the same.
pub fn confine(needs: Needs) -> Vec<ConfineError> {
    let mut failed = capabilities::drop_others(needs);
    let filtered = system_calls::filter();
    IS_FILTERED.store(filtered.is_ok(), Ordering::Relaxed);
    failed.extend(filtered.err().map(ConfineError::from));
    failed
}

impl Confinement {
    /// What holds this process back now.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn of_this_process() -> Result<Self, ConfineError> {
        Self::of(std::process::id(), IS_FILTERED.load(Ordering::Relaxed))
    }

    /// What holds a process back now, of which it is known whether it has installed its filter: the kernel shows
    /// only that there is one. Every thread has its own, and all are as the first: it is confined before there
    /// are others.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn of(pid: u32, is_filtered: bool) -> Result<Self, ConfineError> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self::from_status(&status, is_filtered))
    }

    fn from_status(status: &str, is_filtered: bool) -> Self {
        let field = |name: &str| {
            let mut fields = status.lines().filter_map(|line| line.split_once(':'));
            fields
                .find(|(key, _)| *key == name)
                .map_or("", |(_, value)| value.trim())
        };
        Self {
            capabilities: capabilities::names(field("CapEff")),
            no_new_privileges: field("NoNewPrivs") == "1",
            system_calls_filtered: is_filtered && field("Seccomp") == FILTERED,
        }
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.capabilities.as_slice() {
            [] => f.write_str("no capabilities")?,
            held => write!(f, "capabilities {}", held.join(", "))?,
        }
        f.write_str(if self.no_new_privileges {
            "; no new privileges"
        } else {
            "; new privileges NOT refused"
        })?;
        f.write_str(if self.system_calls_filtered {
            "; system calls filtered"
        } else {
            "; system calls NOT filtered"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_account_is_read_by_its_fields() {
        let status = "Name:\tntpguard\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\n\
                      CapEff:\t000000c000001000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let expected = Confinement {
            capabilities: ["NET_ADMIN", "PERFMON", "BPF"].map(str::to_owned).into(),
            no_new_privileges: true,
            system_calls_filtered: true,
        };
        assert_eq!(Confinement::from_status(status, true), expected);
        assert_eq!(Confinement::from_status("", true), Confinement::default());
        // The filter is somebody else's.
        let unfiltered = Confinement {
            system_calls_filtered: false,
            ..expected
        };
        assert_eq!(Confinement::from_status(status, false), unfiltered);
    }
}
