//! Guards that follow each other under a flood: no packet falls between two of them.

use std::sync::Arc;

use anyhow::{Result, ensure};
use ntpguard_common::{maps::tables::Role, reason::Reason};
use ntpguard_tests::{
    guard::{Counts, Guard, Home},
    lab::Lab,
    packets::flood::Flood,
    wait::eventually,
};

use super::{LISTED, SOON, flood, flood_arrives_unguarded, guarded, source, status, successor};

/// Fails unless the flood went on while the guard was exchanged, and nothing of it arrived.
fn nothing_leaked(lab: &Lab, flood: Flood, home: &Home) -> Result<()> {
    let flooded = flood.stop()?;
    lab.flush()?;
    let leaked = lab.sink.count() + lab.sink.lost()?;
    ensure!(
        leaked == 0,
        "{leaked} of {flooded:?} leaked: {:?}",
        lab.sink.by_source()
    );
    // A busy machine loses some on the cable, and the counters live through it all.
    let dropped = Counts::in_kernel(home)?.enforced(Reason::Unlisted);
    let range = flooded.frames / 2..=flooded.frames;
    ensure!(
        flooded.frames > 1_000 && range.contains(&dropped),
        "{dropped} counted of {flooded:?}"
    );
    Ok(())
}

#[test]
fn no_packet_is_unguarded_while_guards_replace_each_other() -> Result<()> {
    flood_arrives_unguarded()?;
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let (link, flood) = (lab.link(&home)?, flood(&lab)?);
    for _ in 0..5 {
        let mut before = guard;
        guard = successor(&lab, &home, &["--replace"])?;
        ensure!(before.wait_end()?.success(), "{}", before.stderr());
    }
    nothing_leaked(&lab, flood, &home)?;
    ensure!(lab.link(&home)? == link, "another link");
    Ok(())
}

#[test]
fn no_packet_is_unguarded_while_guards_are_killed_and_started() -> Result<()> {
    flood_arrives_unguarded()?;
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let flood = flood(&lab)?;
    for _ in 0..5 {
        guard.kill9()?;
        guard = successor(&lab, &home, &[])?;
    }
    nothing_leaked(&lab, flood, &home)
}

#[test]
fn no_packet_is_unguarded_while_tables_of_another_size_take_over() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let flood = flood(&lab)?;
    for size in ["100", "1000", "200"] {
        guard.kill9()?;
        guard = successor(&lab, &home, &["--table-size", size])?;
    }
    let flooded = flood.stop()?;
    lab.flush()?;
    ensure!(flooded.frames > 1_000, "no flood: {flooded:?}");
    ensure!(lab.sink.count() == 0, "{:?} leaked", lab.sink.by_source());
    lab.admits(&home, LISTED, Role::Server)
}

/// Fails unless monitoring passed the flood, and nothing more passes once `enforcing` is done.
fn from_monitor_to_enforce(lab: &Lab, mut monitor: Guard, kill: bool) -> Result<()> {
    let home = Arc::clone(monitor.home());
    let (link, flood) = (lab.link(&home)?, flood(lab)?);
    lab.sink.wait_for(100, SOON)?;
    ensure!(
        monitor.counters()?.monitored(Reason::Unlisted) > 0,
        "nothing was monitored"
    );
    if kill {
        monitor.kill9()?;
    }
    let more: &[&str] = if kill { &[] } else { &["--replace"] };
    let guard = successor(lab, &home, more)?;
    // What was let pass before the swap may be on its way still.
    let mut passed = 0;
    eventually(SOON, "an end of what passes", || {
        let before = std::mem::replace(&mut passed, lab.sink.count());
        ensure!(passed == before, "still {passed}");
        Ok(())
    })?;
    let sent = flood.sent();
    eventually(SOON, "more of the flood", || {
        ensure!(flood.sent() > sent + 5_000, "{} sent", flood.sent());
        Ok(())
    })?;
    let flooded = flood.stop()?;
    lab.flush()?;
    ensure!(
        lab.sink.count() == passed,
        "{} more passed",
        lab.sink.count() - passed
    );
    // Each packet was counted by the one mode or by the other.
    let counts = guard.counters()?;
    let (enforced, monitored) = (
        counts.enforced(Reason::Unlisted),
        counts.monitored(Reason::Unlisted),
    );
    ensure!(
        enforced + monitored <= flooded.frames,
        "{enforced} + {monitored} of {flooded:?}"
    );
    ensure!(enforced >= 1_000, "{enforced} enforced of {flooded:?}");
    ensure!(
        monitored == passed + lab.sink.lost()?,
        "{monitored} monitored, {passed} passed"
    );
    ensure!(lab.link(&home)? == link, "another link");
    ensure!(
        status(lab, &home)?["mode"] == "enforce",
        "the mode is not told"
    );
    Ok(())
}

#[test]
fn replacing_a_monitor_enforces_from_one_packet_to_the_next() -> Result<()> {
    let lab = Lab::new()?;
    let monitor = lab.guard().source(&source(&lab)?).mode("monitor").ready()?;
    from_monitor_to_enforce(&lab, monitor, false)
}

#[test]
fn starting_after_a_killed_monitor_enforces_from_one_packet_to_the_next() -> Result<()> {
    let lab = Lab::new()?;
    let monitor = lab.guard().source(&source(&lab)?).mode("monitor").ready()?;
    from_monitor_to_enforce(&lab, monitor, true)
}
