//! Units that root starts, and which of them are services.

use std::{net::IpAddr, process::Command, time::Duration};

use anyhow::{Result, ensure};

use super::{
    chronyd::{self, Unit},
    machine::{Machine, address, proc},
};
use crate::{process::Process, wait::eventually};

const SANDBOXED: IpAddr = address(101);
const SCOPED: IpAddr = address(102);

/// Only root can give a service mounts of its own, so root's files in them are root's word.
pub(super) fn sandboxed_service_is_believed(machine: &mut Machine) -> Result<()> {
    let unit = Unit::sandboxed("sandboxed", SANDBOXED)?;
    machine.wait_believed(&unit, SANDBOXED)
}

/// A scope has whatever processes its maker puts into it, as a container or a user's session.
pub(super) fn scope_is_not_trusted(machine: &mut Machine) -> Result<()> {
    let configuration = chronyd::configuration("scope", SCOPED)?;
    let mut run = Command::new("systemd-run");
    run.args([
        "--quiet",
        "--scope",
        "--unit=chrony.scope",
        chronyd::PROGRAM,
    ]);
    run.args(chronyd::OPTIONS).args(["-f", &configuration]);
    let mut scope = Process::spawn(run)?;
    // systemd-run becomes the program.
    let cgroup = "/system.slice/chrony.scope";
    eventually(Duration::from_secs(20), "a chronyd in a scope", || {
        scope.ensure_running()?;
        let (name, found) = (proc(scope.id(), "comm")?, proc(scope.id(), "cgroup")?);
        ensure!(
            name == "chronyd\n" && found == format!("0::{cgroup}\n"),
            "{name}{found}"
        );
        Ok(())
    })?;
    machine.wait_look()?;
    scope.ensure_running()?;
    ensure!(!machine.trusts(cgroup)?, "{cgroup} is trusted");
    Ok(())
}
