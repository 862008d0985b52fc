//! A user who makes changes of files faster than anything could look at them.

use std::{
    fs,
    os::unix::fs::chown,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{lab::Lab, process::Process, wait::eventually};

use super::{HEARD, USER, answers::Answers};

const KNOWN: &str = "192.0.2.1";
const NEW: &str = "192.0.2.2";

/// How many files the user's file has read: nearly as many as any may.
const FILES: usize = 990;

const TIME: Duration = Duration::from_secs(12);

/// How soon the guard ends.
const END: Duration = Duration::from_secs(3);

/// Writes a file without end, as the user.
const WRITE: &str = "while :; do echo x >z1.conf; done";

fn flood(directory: &Path) -> Result<Process> {
    let user = USER.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"])
        .args(["sh", "-c", WRITE])
        .current_dir(directory);
    Process::spawn(command)
}

#[test]
fn a_users_flood_of_changes_delays_no_answer_no_change_of_roots_and_no_end() -> Result<()> {
    let lab = Lab::new()?;
    let directory = lab.file("user");
    fs::create_dir(&directory)?;
    chown(&directory, Some(USER), Some(USER))?;
    let include = |path: &Path| format!("includefile {}\n", path.display());
    let named = (0..FILES).map(|number| include(&directory.join(format!("z{number}.conf"))));
    let users = directory.join("x.conf");
    fs::write(&users, named.collect::<String>())?;
    let conf = lab.write("ntp.conf", &format!("server {KNOWN}\n{}", include(&users)))?;
    let mut guard = lab.guard().source(&conf).ready()?;
    let _floods = [flood(&directory)?, flood(&directory)?];
    let mut answers = Answers::default();
    let began = Instant::now();
    while began.elapsed() < TIME {
        answers.ask(&guard)?;
        thread::sleep(Duration::from_millis(50));
    }
    answers.are_soon("while files change without end")?;
    fs::write(&conf, format!("server {NEW}\n{}", include(&users)))?;
    eventually(HEARD, "root's change", || {
        lab.admits(guard.home(), NEW, Role::Server)
    })?;
    let began = Instant::now();
    let ended = guard.interrupt()?;
    ensure!(ended.success() && began.elapsed() < END, "{ended}");
    Ok(())
}
