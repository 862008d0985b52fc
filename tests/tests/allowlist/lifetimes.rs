//! How long an addition lasts: until its end if it has one, and over every restart till then.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{guard::Home, lab::Lab, wait::eventually};
use serde_json::json;

use super::{ADDRESS, OTHER, empty_source, entries, guarded, listed, ok, rows};

fn admitted_for(lab: &Lab, home: &Home, ttl: Duration, since: Instant) -> Result<()> {
    lab.admits(home, ADDRESS, Role::Server)?;
    lab.admits(home, "198.51.100.7", Role::Server)?;
    ensure!(
        since.elapsed() < ttl,
        "this machine is too slow for this test"
    );
    eventually(Duration::from_secs(10), "the end of a grant", || {
        lab.drops(home, ADDRESS, Role::Server)?;
        lab.drops(home, "198.51.100.7", Role::Server)
    })?;
    // Boot time is counted in whole seconds.
    ensure!(
        since.elapsed() + Duration::from_secs(1) >= ttl,
        "ended after {:?}",
        since.elapsed()
    );
    Ok(())
}

#[test]
fn a_ttl_ends_in_the_kernel_without_a_daemons_help() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let ttl = Duration::from_secs(6);
    let since = Instant::now();
    ok(&guard.cli(&["allowlist", "add", ADDRESS, "--ttl", "6s"])?)?;
    ok(&guard.cli(&["allowlist", "add", "198.51.100.0/24", "--ttl", "6s"])?)?;
    guard.kill9()?;
    admitted_for(&lab, guard.home(), ttl, since)?;
    // The next start does not bring it back.
    let _next = lab
        .guard()
        .home(guard.home())
        .source(&empty_source(&lab)?)
        .ready()?;
    lab.drops(guard.home(), ADDRESS, Role::Server)?;
    ensure!(listed(&lab, guard.home())?.is_empty(), "it is still listed");
    Ok(())
}

#[test]
fn a_ttl_ends_while_the_daemon_runs_and_is_taken_off_the_list() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    let ttl = Duration::from_secs(6);
    let since = Instant::now();
    ok(&guard.cli(&["allowlist", "add", ADDRESS, "--ttl", "6s"])?)?;
    ok(&guard.cli(&["allowlist", "add", "198.51.100.0/24", "--ttl", "6s"])?)?;
    let ends = rows(&lab, guard.home())?[0]["ends_in"].as_u64();
    ensure!(ends.is_some_and(|left| left <= 6), "ends in {ends:?}");
    admitted_for(&lab, guard.home(), ttl, since)?;
    eventually(
        Duration::from_secs(3),
        "an empty list and an empty table",
        || {
            ensure!(listed(&lab, guard.home())?.is_empty(), "it is still listed");
            ensure!(entries(guard.home())? == 0, "it is still in the table");
            Ok(())
        },
    )
}

#[test]
fn a_ttl_goes_on_over_a_restart_and_a_new_one_replaces_it() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    ok(&guard.cli(&["allowlist", "add", ADDRESS, "--ttl", "1h"])?)?;
    ok(&guard.cli(&["allowlist", "add", OTHER, "--ttl", "1h"])?)?;
    ok(&guard.cli(&["allowlist", "add", OTHER])?)?;
    guard.kill9()?;
    let guard = lab
        .guard()
        .home(guard.home())
        .source(&empty_source(&lab)?)
        .ready()?;
    let rows = rows(&lab, guard.home())?;
    let left = rows[0]["ends_in"].as_u64().context("no end")?;
    ensure!((3_500..=3_600).contains(&left), "{rows}");
    ensure!(rows[1]["ends_in"].is_null(), "{rows}");
    Ok(())
}

#[test]
fn comments_are_kept_across_restarts() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let comment = "Zürich's \"spare\"\n#2";
    ok(&guard.cli(&["allowlist", "add", ADDRESS, "--comment", comment])?)?;
    ok(&guard.cli(&["allowlist", "add", OTHER, "--comment", "before"])?)?;
    ok(&guard.cli(&["allowlist", "add", OTHER, "--comment", "after"])?)?;
    let before = rows(&lab, &home)?;
    ensure!(before[0]["comments"] == json!([comment]), "{before}");
    ensure!(before[1]["comments"] == json!(["after"]), "{before}");
    ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    ensure!(
        rows(&lab, &home)? == before,
        "changed by the end of the daemon"
    );
    let mut guard = lab
        .guard()
        .home(&home)
        .source(&empty_source(&lab)?)
        .ready()?;
    ensure!(rows(&lab, &home)? == before, "changed by a restart");
    guard.kill9()?;
    ok(&lab.cli(&home, &["allowlist", "add", "192.0.2.3"])?)?;
    let _guard = lab
        .guard()
        .home(&home)
        .source(&empty_source(&lab)?)
        .ready()?;
    let after = rows(&lab, &home)?;
    ensure!(after[0] == before[0] && after[1] == before[1], "{after}");
    Ok(())
}
