//! No more files or processes are to be had, as where a user has taken all of the system's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{guard::Guard, lab::Lab, process, wait::eventually};

use super::{HEARD, answers::Answers};

const KNOWN: &str = "192.0.2.1";

/// For more than one look at what runs.
const TIME: Duration = Duration::from_secs(12);

/// Where the controller of processes may be: alone, or as one of version 2.
const CONTROLLERS: [&str; 2] = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];

/// A control group in which no more processes are to be had than it has.
struct Full {
    path: PathBuf,
    parent: &'static Path,
}

impl Full {
    /// Moves a process there.
    fn with(pid: u32) -> Result<Self> {
        let mut controllers = CONTROLLERS.into_iter().map(Path::new);
        let parent = controllers.find(|path| path.join("cgroup.procs").exists());
        let parent = parent.context("no cgroups that limit processes")?;
        let subtree = parent.join("cgroup.subtree_control");
        if subtree.exists() {
            fs::write(subtree, "+pids")?;
        }
        let path = parent.join(format!("ng-test-full-{pid}"));
        fs::create_dir(&path)?;
        let full = Self { path, parent };
        fs::write(full.path.join("cgroup.procs"), pid.to_string())?;
        let current = fs::read_to_string(full.path.join("pids.current"))?;
        fs::write(full.path.join("pids.max"), current.trim())?;
        Ok(full)
    }

    fn more(&self) -> Result<()> {
        Ok(fs::write(self.path.join("pids.max"), "max")?)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let all = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in all.lines() {
            fs::write(self.parent.join("cgroup.procs"), pid).ok();
        }
        fs::remove_dir(&self.path).ok();
    }
}

/// Asks again and again, and with commands that would start threads.
fn is_answered(guard: &Guard, when: &str) -> Result<()> {
    let mut answers = Answers::default();
    let rounds = TIME.as_millis() / 200;
    for _ in 0..rounds {
        let status = answers.ask(guard)?;
        ensure!(
            status.contains("cannot look at what is attached"),
            "{status}"
        );
        thread::sleep(Duration::from_millis(200));
    }
    answers.are_soon(when)
}

/// How many lines of the log begin with a time and one of these levels.
fn lines(guard: &Guard, levels: &[&str]) -> usize {
    let log = guard.stderr();
    let is_of = |line: &&str| levels.iter().any(|level| line.contains(level));
    log.lines().filter(is_of).count()
}

fn is_well_again(lab: &Lab, guard: &Guard) -> Result<()> {
    eventually(HEARD, "an answer with a look", || {
        let status = guard.json(&["status", "--json"])?;
        ensure!(status["trouble"].is_null(), "{status}");
        Ok(())
    })?;
    lab.admits(guard.home(), KNOWN, Role::Server)
}

#[test]
fn a_guard_without_more_processes_answers_and_logs_that_once() -> Result<()> {
    let lab = Lab::new()?;
    let conf = lab.write("ntp.conf", &format!("server {KNOWN}\n"))?;
    let guard = lab.guard().source(&conf).ready()?;
    let full = Full::with(guard.id())?;
    let before = lines(&guard, &["ERROR", "WARN"]);
    is_answered(&guard, "without more processes")?;
    let said = lines(&guard, &["ERROR", "WARN"]) - before;
    ensure!((1..10).contains(&said), "{said} lines:\n{}", guard.stderr());
    full.more()?;
    is_well_again(&lab, &guard)
}

/// Allows a process no files beyond those that it has.
fn limit_files(pid: u32, soft: usize) -> Result<()> {
    let mut command = Command::new("prlimit");
    let limit = format!("--nofile={soft}:");
    command.args(["--pid", &pid.to_string(), &limit]);
    process::run(command).map(drop)
}

/// The lowest number that no file of a process has.
fn first_free(pid: u32) -> Result<usize> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        numbers.push(entry?.file_name().to_string_lossy().parse::<usize>()?);
    }
    (0..=numbers.len())
        .find(|number| !numbers.contains(number))
        .context("no number is free")
}

#[test]
fn a_guard_without_more_files_answers_and_logs_that_once() -> Result<()> {
    let lab = Lab::new()?;
    let conf = lab.write("ntp.conf", &format!("server {KNOWN}\n"))?;
    let guard = lab.guard().source(&conf).ready()?;
    // All below that are taken but the one in reserve, which a connection is given.
    limit_files(guard.id(), first_free(guard.id())?)?;
    let before = lines(&guard, &["ERROR", "WARN"]);
    is_answered(&guard, "without more files")?;
    let said = lines(&guard, &["ERROR", "WARN"]) - before;
    ensure!((1..10).contains(&said), "{said} lines:\n{}", guard.stderr());
    limit_files(guard.id(), 1_024)?;
    is_well_again(&lab, &guard)
}
