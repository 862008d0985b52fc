//! The guard outlives its daemon, and a new daemon takes it over with no packet unguarded.

use std::{net::IpAddr, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{
    guard::{Guard, Home},
    lab::Lab,
    packets::flood::Flood,
    wait::eventually,
};
use serde_json::Value;

mod boots;
mod ends;
mod handover;
mod moments;
mod starts;
mod swaps;

const LISTED: &str = "192.0.2.1";
const STRANGER: &str = "203.0.113.9";
const SOON: Duration = Duration::from_secs(5);

/// Longer than any test here takes.
const LONG: Duration = Duration::from_secs(60);

/// Packets a second of the floods: many between any two steps of a swap, and few enough that the
/// machine still has time for the swap.
const RATE: u64 = 20_000;

fn source(lab: &Lab) -> Result<std::path::PathBuf> {
    lab.write("ntp.conf", &format!("server {LISTED}\n"))
}

fn guarded(lab: &Lab) -> Result<Guard> {
    lab.guard().source(&source(lab)?).ready()
}

/// Another daemon over the same pins and state.
fn successor(lab: &Lab, home: &Arc<Home>, more: &[&str]) -> Result<Guard> {
    let guard = lab
        .guard()
        .home(home)
        .source(&source(lab)?)
        .args(more)
        .start()?;
    in_charge(lab, guard)
}

/// Waits until it is `guard` itself that answers, and not its predecessor.
fn in_charge(lab: &Lab, mut guard: Guard) -> Result<Guard> {
    eventually(SOON, "the successor's being in charge", || {
        let status = guard.wait_ready()?;
        ensure!(status["daemon"]["pid"] == guard.id(), "{status}");
        Ok(())
    })?;
    lab.flush()?;
    Ok(guard)
}

fn status(lab: &Lab, home: &Home) -> Result<Value> {
    lab.json(home, &["status", "--json"])
}

fn flood(lab: &Lab) -> Result<Flood> {
    let from: IpAddr = STRANGER.parse()?;
    let frame = lab.frame(from, Role::Server)?;
    Flood::start(&lab.outside.port, vec![frame], Some(RATE), LONG)
}

/// Shows that, in this lab, the flood arrives where there is no guard.
fn flood_arrives_unguarded() -> Result<()> {
    let lab = Lab::new()?;
    let flood = flood(&lab)?;
    lab.sink.wait_for(1_000, SOON)?;
    flood.stop().map(drop)
}
