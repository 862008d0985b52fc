//! What cannot be seen, or is not there, is said with what to do about it, and does not pass for nothing.

use std::{ffi::OsStr, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ntpguard_tests::{cgroup::Cgroup, config::ConfigFile, guard::Guard, process, wait::eventually};
use serde_json::Value;

use super::{
    pool::Pool,
    scene::{FOUND, Scene, says},
};

/// Has the cgroup v2 hierarchies unmounted, in a mount namespace of its own, and becomes the command.
const WITHOUT_CGROUPS: [&str; 5] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    r#"awk '/ - cgroup2 /{print $5}' /proc/self/mountinfo | while read -r at; do umount -l "$at"; done
       exec "$0" "$@""#,
];

/// What is wrong, as `status` has it.
fn problems(guard: &Guard) -> Result<Vec<String>> {
    let status = guard.json(&["status", "--json"])?;
    let problems = status["problems"].as_array().context("no list")?;
    Ok(problems.iter().map(Value::to_string).collect())
}

/// Waits until this is, or is no longer, among the problems.
pub(crate) fn wait_problem(guard: &Guard, text: &str, is_there: bool) -> Result<()> {
    eventually(FOUND, "the finding", || {
        let problems = problems(guard)?;
        let found = problems.iter().filter(|problem| problem.contains(text));
        ensure!(found.count() == usize::from(is_there), "{problems:?}");
        Ok(())
    })
}

pub(crate) fn unit(cgroup: &Cgroup) -> Result<String> {
    let name = cgroup.path().file_name().context("a name")?;
    Ok(name.to_string_lossy().into_owned())
}

#[test]
fn a_unit_that_is_not_there_is_a_finding_until_it_is() -> Result<()> {
    let service = Cgroup::service()?;
    let unit = unit(&service)?;
    let scene = Scene::trusting(&["--trust".as_ref(), OsStr::new(&unit)])?;
    let said = format!("--trust {unit} has no effect now");
    // At once, and once.
    let log = scene.guard().stderr();
    ensure!(log.matches(&said).count() == 1, "{log}");
    wait_problem(scene.guard(), &said, true)?;
    let status = scene
        .status()?
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    ensure!(
        status.contains(&format!("systemctl status {unit}")),
        "{status}"
    );
    service.make()?;
    scene.wait_trusted(&service)?;
    wait_problem(scene.guard(), &said, false)?;
    let log = scene.guard().stderr();
    ensure!(log.matches(&said).count() <= 2, "{log}");
    Ok(())
}

#[test]
fn naming_a_unit_does_not_hide_a_daemon_that_runs_elsewhere() -> Result<()> {
    let (named, other) = (Cgroup::service()?, Cgroup::service()?);
    named.make()?;
    other.make()?;
    let scene = Scene::trusting(&["--trust".as_ref(), OsStr::new(&unit(&named)?)])?;
    let main = named.below("main");
    main.make()?;
    let _inside = scene.chronyd(&main)?;
    let outside = scene.chronyd(&other)?;
    let untrusted = scene.wait_untrusted(&outside)?;
    says(&untrusted, "why", "--trust names other cgroups")?;
    says(
        &untrusted,
        "cure",
        &format!("--trust {}", other.path().display()),
    )?;
    ensure!(!scene.is_answered(&other, 0)?, "trusted");
    let status = scene.guard().json(&["status", "--json"])?;
    ensure!(
        status["untrusted"].as_array().map(Vec::len) == Some(1),
        "{status}"
    );
    Ok(())
}

#[test]
fn a_guard_that_sees_no_cgroups_says_so_once() -> Result<()> {
    let (pool, nothing) = (Pool::new()?, ConfigFile::chrony("")?);
    let guard = pool.guard(&nothing).under(WITHOUT_CGROUPS).ready()?;
    wait_problem(&guard, "no cgroup v2 file system is mounted", true)?;
    // It has looked again since.
    thread::sleep(Duration::from_secs(6));
    let log = guard.stderr();
    ensure!(
        log.matches("no cgroup v2 file system is mounted").count() == 1,
        "{log}"
    );
    ensure!(log.contains("--trust-uid"), "{log}");
    Ok(())
}

#[test]
fn where_it_does_not_matter_who_sends_nothing_is_missed() -> Result<()> {
    for moot in [
        &["--learn", "any"][..],
        &["--track", "off"],
        &["--trust-uid", "1500"],
    ] {
        let (pool, nothing) = (Pool::new()?, ConfigFile::chrony("")?);
        let guard = pool
            .guard(&nothing)
            .under(WITHOUT_CGROUPS)
            .args(moot)
            .ready()?;
        let log = guard.stderr();
        ensure!(!log.contains("cgroup v2"), "{moot:?}: {log}");
        ensure!(
            problems(&guard)?.is_empty(),
            "{moot:?}: {:?}",
            problems(&guard)?
        );
    }
    Ok(())
}

/// Allows a process this many files.
fn limit_files(pid: u32, soft: u32) -> Result<()> {
    let mut command = Command::new("prlimit");
    let limit = format!("--nofile={soft}:");
    command.args(["--pid", &pid.to_string(), &limit]);
    process::run(command).map(drop)
}

#[test]
fn a_daemon_stays_trusted_while_there_are_no_more_files() -> Result<()> {
    let scene = Scene::new()?;
    let service = Cgroup::service()?;
    service.make()?;
    let _chronyd = scene.chronyd(&service)?;
    scene.wait_trusted(&service)?;
    let said = "cannot search for";
    limit_files(scene.guard().id(), 5)?;
    // It looks every five seconds.
    thread::sleep(FOUND);
    ensure!(scene.is_answered(&service, 0)?, "trust was lost");
    limit_files(scene.guard().id(), 1_024)?;
    let log = scene.guard().stderr();
    ensure!(log.matches(said).count() == 1, "{log}");
    ensure!(!log.contains("gone:"), "{log}");
    wait_problem(scene.guard(), said, false)?;
    scene.wait_trusted(&service)?;
    ensure!(scene.is_answered(&service, 0)?, "trust was lost afterwards");
    Ok(())
}
