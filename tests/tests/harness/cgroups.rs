//! Processes are in the cgroups that tests put them in.

use std::{fs, process::Command, time::Duration};

use anyhow::{Result, ensure};
use ntpguard_tests::{
    cgroup::{self, Cgroup},
    daemons::{Setup, chrony::Chronyd},
    namespace::Namespace,
    process::{self, Process},
    wait::eventually,
};

const SOON: Duration = Duration::from_secs(5);

/// The cgroup of version 2 that a process is in, as `/proc` has it.
fn of_process(pid: u32) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"));
    Ok(own.unwrap_or_default().to_owned())
}

fn name(cgroup: &Cgroup) -> String {
    let name = cgroup.path().file_name().unwrap_or_default();
    format!("/{}", name.to_string_lossy())
}

#[test]
fn a_daemon_runs_in_its_cgroup_which_goes_with_it() -> Result<()> {
    let (namespace, cgroup) = (Namespace::new("cgroup")?, Cgroup::new()?);
    let setup = Setup::new("", None)?.inside(&cgroup);
    let chronyd = Chronyd::start_in(&namespace, setup)?;
    let own = of_process(chronyd.id())?;
    ensure!(own.ends_with(&name(&cgroup)), "chronyd is in {own}");
    let path = cgroup.path().to_owned();
    drop((chronyd, cgroup));
    ensure!(!path.exists(), "{} is still there", path.display());
    Ok(())
}

#[test]
fn a_cgroup_that_is_removed_and_made_again_has_another_id() -> Result<()> {
    let cgroup = Cgroup::planned()?;
    ensure!(cgroup.id().is_err(), "it is there before it is made");
    cgroup.make()?;
    let before = cgroup.id()?;
    // It ends what runs there, as the end of a service does.
    let mut sleep = Command::new("sleep");
    sleep.arg("60");
    let mut process = Process::spawn(cgroup.command(&sleep))?;
    eventually(SOON, "a process in the cgroup", || {
        let procs = fs::read_to_string(cgroup.path().join("cgroup.procs"))?;
        ensure!(procs.trim() == process.id().to_string(), "{procs}");
        Ok(())
    })?;
    cgroup.remove()?;
    process.wait(SOON)?;
    cgroup.make()?;
    ensure!(cgroup.id()? != before, "it has the id {before} again");
    Ok(())
}

#[test]
fn a_command_can_be_put_into_the_root_cgroup() -> Result<()> {
    let mut read = Command::new("cat");
    read.arg("/proc/self/cgroup");
    let printed = process::run(cgroup::at_root(&read)?)?;
    let own = printed.lines().find_map(|line| line.strip_prefix("0::"));
    // In a container the root of what is mounted is what it takes for the root.
    ensure!(own == Some("/"), "{printed}");
    Ok(())
}
