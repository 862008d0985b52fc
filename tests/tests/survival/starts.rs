//! What a start finds: what a killed guard left, a guard that lives, or nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::lab::Lab;

use super::{LISTED, STRANGER, guarded, source, status, successor};

#[test]
fn a_restart_adopts_what_a_killed_guard_left() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    lab.drops(&home, STRANGER, Role::Server)?;
    lab.admits(&home, LISTED, Role::Server)?;
    let (link, counts) = (lab.link(&home)?, guard.counters()?);
    guard.kill9()?;
    let guard = successor(&lab, &home, &[])?;
    ensure!(guard.stderr().contains("adopted"), "{}", guard.stderr());
    ensure!(lab.link(&home)? == link, "another link");
    ensure!(guard.counters()? == counts, "the counters began anew");
    ensure!(guard.reported()? == counts, "status counts otherwise");
    lab.drops(&home, STRANGER, Role::Server)?;
    lab.admits(&home, LISTED, Role::Server)
}

#[test]
fn a_first_start_adopts_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    ensure!(!guard.stderr().contains("adopted"), "{}", guard.stderr());
    Ok(())
}

#[test]
fn a_second_run_is_refused_while_the_first_lives() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    let began = Instant::now();
    let mut second = lab
        .guard()
        .home(guard.home())
        .source(&source(&lab)?)
        .start()?;
    ensure!(second.wait_end()?.code() == Some(1), "{}", second.stderr());
    let said = second.stderr();
    ensure!(
        said.contains(&format!("pid {}", guard.id())) && said.contains("--replace"),
        "{said}"
    );
    ensure!(
        began.elapsed() < Duration::from_secs(3),
        "refused after {:?}",
        began.elapsed()
    );
    // The first is as it was.
    let status = status(&lab, guard.home())?;
    ensure!(
        status["daemon"]["pid"] == guard.id() && status["guarding"] == true,
        "{status}"
    );
    lab.drops(guard.home(), STRANGER, Role::Server)?;
    lab.admits(guard.home(), LISTED, Role::Server)
}

#[test]
fn replace_without_a_daemon_is_a_plain_start() -> Result<()> {
    let lab = Lab::new()?;
    let guard = lab
        .guard()
        .source(&source(&lab)?)
        .args(["--replace"])
        .ready()?;
    lab.drops(guard.home(), STRANGER, Role::Server)
}
