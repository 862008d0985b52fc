//! Starts that are killed at any moment.

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{guard::Home, lab::Lab};

use super::{LISTED, STRANGER, flood, flood_arrives_unguarded, guarded, source, successor};

/// Moments from 1 to 300 ms after a start, close together where most happens.
fn moments() -> impl Iterator<Item = Duration> {
    (0..20_u64).map(|turn| Duration::from_millis(1 + turn * turn * 299 / 361))
}

#[test]
fn a_first_start_stopped_at_any_moment_can_be_started_again() -> Result<()> {
    let lab = Lab::new()?;
    for moment in moments() {
        let home = Home::new()?;
        let mut guard = lab.guard().home(&home).source(&source(&lab)?).start()?;
        thread::sleep(moment);
        guard.kill9()?;
        let guard = lab.guard().home(&home).source(&source(&lab)?).ready()?;
        lab.drops(&home, STRANGER, Role::Server)?;
        lab.admits(&home, LISTED, Role::Server)?;
        drop(guard);
        ensure!(
            lab.cli(&home, &["unload"])?.status.success(),
            "unload failed after {moment:?}"
        );
    }
    Ok(())
}

#[test]
fn a_restart_stopped_at_any_moment_leaves_the_interface_guarded() -> Result<()> {
    flood_arrives_unguarded()?;
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    guard.kill9()?;
    let flood = flood(&lab)?;
    for (turn, moment) in moments().enumerate() {
        // Every other start also replaces the tables.
        let size = if turn % 2 == 0 { "1000" } else { "2000" };
        let mut guard = lab
            .guard()
            .home(&home)
            .source(&source(&lab)?)
            .args(["--table-size", size])
            .start()?;
        thread::sleep(moment);
        guard.kill9()?;
        lab.flush()?;
        ensure!(lab.sink.count() == 0, "leaked after {moment:?}");
    }
    let _guard = successor(&lab, &home, &[])?;
    let flooded = flood.stop()?;
    lab.flush()?;
    ensure!(flooded.frames > 1_000, "no flood: {flooded:?}");
    let leaked = lab.sink.count() + lab.sink.lost()?;
    ensure!(leaked == 0, "{leaked} of {flooded:?} leaked");
    lab.admits(&home, LISTED, Role::Server)
}
