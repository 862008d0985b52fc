//! What goes wrong around a guard does not hurt what it knows.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{guard::Guard, lab::Lab, wait::eventually};
use serde_json::Value;

mod changes;
mod names;
mod socket;
mod state;
mod stopped;
mod unreadable;

const KNOWN: &str = "192.0.2.1";
const NEW: &str = "192.0.2.2";
const STRANGER: &str = "203.0.113.9";

/// How soon a good change of a file has to be in the kernel.
const CHANGE_LIMIT: Duration = Duration::from_secs(3);

/// Bytes that no guard in these tests may ever have had in memory, built for debugging.
const MEMORY_LIMIT: u64 = 60 << 20;

fn status(guard: &Guard) -> Result<Value> {
    guard.json(&["status", "--json"])
}

fn no_more_memory_than_allowed(guard: &Guard) -> Result<()> {
    let (now, most) = guard.resident()?;
    ensure!(
        most < MEMORY_LIMIT,
        "{most} bytes resident at most, {now} now"
    );
    Ok(())
}

/// It still knows whom it knew, still drops the others, and still answers.
fn unhurt(lab: &Lab, guard: &Guard) -> Result<()> {
    lab.admits(guard.home(), KNOWN, Role::Server)?;
    lab.drops(guard.home(), STRANGER, Role::Server)?;
    let status = status(guard)?;
    ensure!(
        status["daemon"]["pid"] == guard.id() && status["guarding"] == true,
        "{status}"
    );
    no_more_memory_than_allowed(guard)
}

/// Notes are no problems: they tell what was left out on purpose.
fn no_problems(guard: &Guard) -> Result<()> {
    let problems = status(guard)?["problems"].clone();
    let mut all = problems.as_array().into_iter().flatten();
    ensure!(
        all.all(|problem| problem["severity"] == "note"),
        "{problems}"
    );
    Ok(())
}

fn line(address: &str) -> String {
    format!("server {address}\n")
}

/// A guard of a source in a directory of its own, that names `KNOWN`.
struct Watched {
    lab: Lab,
    guard: Guard,
    directory: PathBuf,
    file: PathBuf,
}

impl Watched {
    fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let directory = lab.file("etc");
        fs::create_dir(&directory)?;
        let file = directory.join("ntp.conf");
        fs::write(&file, line(KNOWN))?;
        let guard = lab.guard().source(&file).ready()?;
        lab.admits(guard.home(), KNOWN, Role::Server)?;
        no_problems(&guard)?;
        Ok(Self {
            lab,
            guard,
            directory,
            file,
        })
    }

    /// Waits until `status` names the file, at this line, with these words.
    fn told(&self, line: u32, words: &str) -> Result<()> {
        eventually(CHANGE_LIMIT, "a problem in the status", || {
            let problems = status(&self.guard)?["problems"].clone();
            let named = problems.as_array().into_iter().flatten().any(|problem| {
                problem["place"]["file"].as_str() == self.file.to_str()
                    && problem["place"]["line"] == line
                    && problem["message"]
                        .as_str()
                        .is_some_and(|message| message.contains(words))
            });
            ensure!(named, "{problems}");
            Ok(())
        })
    }

    /// Waits until the new address is in the kernel and no problem is left.
    fn changed_to(&self, new: &str, old: &str) -> Result<()> {
        eventually(CHANGE_LIMIT, "the change in the kernel", || {
            self.lab.admits(self.guard.home(), new, Role::Server)?;
            self.lab.drops(self.guard.home(), old, Role::Server)
        })?;
        no_problems(&self.guard)?;
        no_more_memory_than_allowed(&self.guard)
    }
}
