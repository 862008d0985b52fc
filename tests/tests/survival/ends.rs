//! How a daemon ends, and what is left of its guard then.

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{guard::Guard, lab::Lab};

use super::{LISTED, STRANGER, guarded, source, status};

#[test]
fn a_killed_guard_goes_on_filtering() -> Result<()> {
    let lab = Lab::new()?;
    lab.arrives_unguarded(STRANGER, Role::Server)?;
    let mut guard = guarded(&lab)?;
    guard.kill9()?;
    lab.drops(guard.home(), STRANGER, Role::Server)?;
    lab.admits(guard.home(), LISTED, Role::Server)?;
    let status = status(&lab, guard.home())?;
    ensure!(
        status["guarding"] == true && status["daemon"].is_null(),
        "{status}"
    );
    ensure!(
        status["mode"] == "enforce" && status["grants"]["addresses"] == 1,
        "{status}"
    );
    Ok(())
}

fn ends_with(lab: &Lab, mut guard: Guard, interrupt: bool, stays: bool) -> Result<()> {
    let ended = if interrupt {
        guard.interrupt()?
    } else {
        guard.terminate()?
    };
    ensure!(ended.code() == Some(0), "{ended}: {}", guard.stderr());
    let status = status(lab, guard.home())?;
    ensure!(
        status["guarding"] == stays && status["daemon"].is_null(),
        "{status}"
    );
    if stays {
        lab.drops(guard.home(), STRANGER, Role::Server)?;
        lab.admits(guard.home(), LISTED, Role::Server)
    } else {
        let hooks = ntpguard_tests::bpftool::net(&lab.inside.namespace)?;
        ensure!(hooks.get("xdp").is_none_or(Vec::is_empty), "{hooks:?}");
        lab.arrives_unguarded(STRANGER, Role::Server)
    }
}

#[test]
fn sigterm_and_sigint_detach() -> Result<()> {
    for interrupt in [false, true] {
        let lab = Lab::new()?;
        let guard = guarded(&lab)?;
        ends_with(&lab, guard, interrupt, false)?;
    }
    Ok(())
}

#[test]
fn sigterm_and_sigint_leave_a_persistent_guard() -> Result<()> {
    for interrupt in [false, true] {
        let lab = Lab::new()?;
        let guard = lab
            .guard()
            .source(&source(&lab)?)
            .args(["--persist"])
            .ready()?;
        ends_with(&lab, guard, interrupt, true)?;
    }
    Ok(())
}

#[test]
fn unload_removes_what_a_killed_guard_left_and_keeps_the_state() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    guard.kill9()?;
    ensure!(guard.cli(&["unload"])?.status.success(), "unload failed");
    lab.arrives_unguarded(STRANGER, Role::Server)?;
    ensure!(
        !guard.home().pin_dir().join("maps").exists(),
        "the maps are still there"
    );
    ensure!(
        guard.home().state_dir().join("state.json").is_file(),
        "the state file is gone"
    );
    let again = guard.cli(&["unload"])?;
    ensure!(again.status.success(), "{again:?}");
    Ok(())
}

#[test]
fn a_living_daemon_is_not_unloaded_from_under_its_feet() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    let output = guard.cli(&["unload"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    lab.drops(guard.home(), STRANGER, Role::Server)
}
