//! A clock that takes every order and does nothing, for daemons that end where they may not set it.

use std::{collections::BTreeMap, env::consts::ARCH, process::Command, thread};

use anyhow::{Context, Result, anyhow};
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::process::Process;

/// The ways to set or steer a clock.
const ORDERS: [libc::c_long; 4] = [
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
];

/// Starts `command`, which is told that each order to the clock was done. The kernel never sees one.
pub(super) fn spawn_without(command: Command) -> Result<Process> {
    let filter = filter()?;
    // A filter is the thread's, for good, and its children's.
    let spawned = thread::scope(|scope| {
        scope
            .spawn(|| {
                apply_filter(&filter).context("the kernel refuses a filter of system calls")?;
                Process::spawn(command)
            })
            .join()
    });
    spawned.map_err(|_panic| anyhow!("starting a daemon panicked"))?
}

fn filter() -> Result<BpfProgram> {
    let rules: BTreeMap<_, _> = ORDERS.map(|order| (order, Vec::new())).into();
    // An error of 0 is success.
    let done = SeccompAction::Errno(0);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, done, ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}
