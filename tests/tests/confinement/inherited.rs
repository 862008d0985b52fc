//! What a guard has of the process that started it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{guard::Builder, lab::Lab, wait::eventually};

use super::readers::{SOON, descriptors};

const SECRET: &str = "/etc/shadow";
const SERVER: &str = "192.0.2.1";

fn within_bash(lab: &Lab, script: &str) -> Builder {
    lab.guard().under(["bash", "-c", script, "bash"])
}

#[test]
fn an_inherited_descriptor_is_closed_unless_a_source_is_behind_it() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("chrony.conf", &format!("server {SERVER}\n"))?;
    let script = format!(
        "exec 17<{SECRET} 18<{SECRET} 19<{}; exec \"$@\" --source chrony:/proc/self/fd/19",
        source.display()
    );
    let guard = within_bash(&lab, &script).ready()?;
    let held = descriptors(guard.id())?;
    ensure!(!held.iter().any(|target| target == SECRET), "{held:?}");
    let source = source.to_str().context("no UTF-8")?;
    ensure!(held.iter().any(|target| target == source), "{held:?}");
    lab.admits(guard.home(), SERVER, Role::Server)
}

/// bash makes a descriptor for it, which no one else has named.
#[test]
fn what_a_shell_writes_is_read_from_the_descriptor_that_it_made() -> Result<()> {
    let lab = Lab::new()?;
    let script = format!("exec \"$@\" --source chrony:<(echo server {SERVER})");
    let guard = within_bash(&lab, &script).ready()?;
    lab.admits(guard.home(), SERVER, Role::Server)?;
    let updated = guard.cli(&["allowlist", "update"])?;
    ensure!(updated.status.success(), "{updated:?}");
    lab.admits(guard.home(), SERVER, Role::Server)
}

#[test]
fn what_parses_has_no_environment() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", &format!("server {SERVER}\n"))?;
    let guard = within_bash(&lab, "TOKEN=hidden exec \"$@\"");
    let guard = guard.source(&source).ready()?;
    let status = guard.json(&["status", "--json"])?;
    let starter = &status["daemon"]["readers"]["starter"];
    let starter = starter.as_u64().context("no starter")?;
    let environment = |pid: u64| fs::read(format!("/proc/{pid}/environ"));
    let guards = environment(guard.id().into())?;
    ensure!(
        guards.windows(12).any(|text| text == b"TOKEN=hidden"),
        "the guard has none"
    );
    let starters = environment(starter)?;
    ensure!(
        starters.iter().all(|byte| *byte == 0),
        "{:?}",
        String::from_utf8_lossy(&starters)
    );
    Ok(())
}

#[test]
fn what_keeps_a_guard_from_starting_readers_is_said() -> Result<()> {
    let lab = Lab::new()?;
    let empty = "mount -t tmpfs none /dev && exec \"$@\"";
    let wrapper = ["unshare", "--mount", "bash", "-c", empty, "bash"];
    let mut guard = lab.guard().under(wrapper).start()?;
    let status = guard.wait_end()?;
    let said = guard.stderr();
    ensure!(status.code() == Some(1), "{status}: {said}");
    ensure!(said.contains("/dev/null: No such file"), "{said}");
    Ok(())
}

#[test]
fn a_starter_that_ends_leaves_no_zombie() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", &format!("server {SERVER}\n"))?;
    let guard = lab.guard().source(&source).ready()?;
    let status = guard.json(&["status", "--json"])?;
    let starter = &status["daemon"]["readers"]["starter"];
    let starter = u32::try_from(starter.as_u64().context("no starter")?)?;
    super::readers::send(starter, nix::sys::signal::Signal::SIGKILL)?;
    eventually(SOON, "its end", || {
        let place = format!("/proc/{starter}");
        ensure!(!Path::new(&place).exists(), "{place} is there");
        Ok(())
    })?;
    let status = guard.json(&["status", "--json"])?;
    ensure!(status["daemon"]["readers"]["starter"].is_null(), "{status}");
    Ok(())
}
