//! A file system that hangs holds up the one thread that reads it.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{hanging::Hanging, lab::Lab, wait::eventually};

use super::{HEARD, answers::Answers};

const KNOWN: &str = "192.0.2.1";
const NEW: &str = "192.0.2.2";

/// The names of the guard's threads.
fn threads(pid: u32) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // One may have ended.
        let name = fs::read_to_string(task?.path().join("comm")).unwrap_or_default();
        names.push(name.trim().to_owned());
    }
    Ok(names)
}

#[test]
fn a_file_system_that_hangs_holds_up_one_thread_and_nothing_else() -> Result<()> {
    let lab = Lab::new()?;
    let directory = lab.file("etc");
    fs::create_dir(&directory)?;
    let path = directory.join("ntp.conf");
    fs::write(&path, format!("server {KNOWN}\n"))?;
    let guard = lab.guard().source(&path).ready()?;
    let hanging = Hanging::over(&directory)?;
    let mut answers = Answers::default();
    let updates = [
        guard.spawn(&["allowlist", "update"])?,
        guard.spawn(&["allowlist", "update"])?,
    ];
    eventually(HEARD, "the finding", || {
        let status = answers.ask(&guard)?;
        ensure!(status.contains("takes too long"), "{status}");
        Ok(())
    })?;
    for mut update in updates {
        update.wait(HEARD)?;
        ensure!(
            update.stdout().contains("takes too long"),
            "{}",
            update.story()
        );
    }
    // Changes by hand go on, and so does what was granted; nothing waits in line behind the reading.
    guard.json(&["allowlist", "add", NEW, "--json"])?;
    lab.admits(guard.home(), NEW, Role::Server)?;
    lab.admits(guard.home(), KNOWN, Role::Server)?;
    for _ in 0..20 {
        answers.ask(&guard)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    let names = threads(guard.id())?;
    let reading = names.iter().filter(|name| *name == "ntpguard-read");
    ensure!(reading.count() == 1, "{names:?}");
    ensure!(
        guard.stderr().matches("takes too long").count() == 1,
        "{}",
        guard.stderr()
    );
    answers.are_soon("while a file system hangs")?;
    drop(hanging);
    eventually(HEARD, "the end of the finding", || {
        guard.json(&["allowlist", "update", "--json"])?;
        let status = guard.json(&["status", "--json"])?;
        ensure!(!status.to_string().contains("takes too long"), "{status}");
        Ok(())
    })?;
    lab.admits(guard.home(), KNOWN, Role::Server)
}

/// The state file counts until the sources can be read.
#[test]
fn a_guard_starts_while_a_file_system_hangs() -> Result<()> {
    let lab = Lab::new()?;
    let directory = lab.file("etc");
    fs::create_dir(&directory)?;
    let path = directory.join("ntp.conf");
    fs::write(&path, format!("server {KNOWN}\n"))?;
    let source = format!("ntp.conf:{}", path.display());
    let mut first = lab.guard().source(Path::new(&source)).ready()?;
    first.terminate()?;
    let hanging = Hanging::over(&directory)?;
    let second = lab.guard().source(Path::new(&source));
    let mut second = second.home(first.home()).ready()?;
    let status = second.json(&["status", "--json"])?;
    ensure!(status.to_string().contains("takes too long"), "{status}");
    lab.admits(second.home(), KNOWN, Role::Server)?;
    // It ends although its thread hangs.
    let ended = second.terminate()?;
    ensure!(ended.success(), "{ended}");
    drop(hanging);
    Ok(())
}
