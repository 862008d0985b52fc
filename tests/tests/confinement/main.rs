//! What the processes of a running guard may do, as the kernel shows it of each of their threads.

mod inherited;
mod readers;
mod user;

use std::fs;

use anyhow::{Context, Result, ensure};
use ntpguard_tests::lab::Lab;

/// `CAP_DAC_READ_SEARCH`, `CAP_NET_ADMIN`, `CAP_SYS_PTRACE`, `CAP_PERFMON` and `CAP_BPF`, by their numbers.
const KEPT: u64 = 1 << 2 | 1 << 12 | 1 << 19 | 1 << 38 | 1 << 39;
/// `CAP_SYS_ADMIN`.
const ADMIN: u64 = 1 << 21;

/// What /proc says of every thread of a process.
fn threads(pid: u32) -> Result<Vec<String>> {
    let tasks = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&tasks).with_context(|| format!("cannot list {tasks}"))?;
    entries
        .map(|entry| Ok(fs::read_to_string(entry?.path().join("status"))?))
        .collect()
}

fn field<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(key, _)| *key == name);
    Ok(found
        .with_context(|| format!("no {name} in {status}"))?
        .1
        .trim())
}

fn ensure_confined(pid: u32, capabilities: u64) -> Result<()> {
    for status in threads(pid)? {
        for (set, expected) in [
            ("CapInh", 0),
            ("CapPrm", capabilities),
            ("CapEff", capabilities),
            ("CapBnd", capabilities),
            ("CapAmb", 0),
        ] {
            let held = u64::from_str_radix(field(&status, set)?, 16)?;
            ensure!(held == expected, "{set} is {held:x}, not {expected:x}");
        }
        ensure!(field(&status, "NoNewPrivs")? == "1", "{status}");
        ensure!(field(&status, "Seccomp")? == "2", "{status}");
    }
    Ok(())
}

#[test]
fn every_thread_keeps_what_guarding_takes_and_no_more() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", "server 192.0.2.1\n")?;
    let guard = lab.guard().source(&source).ready()?;
    ensure_confined(guard.id(), KEPT)?;
    let confinement = &guard.json(&["status", "--json"])?["daemon"]["confinement"];
    ensure!(
        confinement["no_new_privileges"] == true
            && confinement["system_calls_filtered"] == true
            && confinement["capabilities"].as_array().map(Vec::len) == Some(5),
        "{confinement}"
    );
    let text = String::from_utf8(guard.cli(&["status"])?.stdout)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    ensure!(
        text.contains("no new privileges; system calls filtered"),
        "{text}"
    );
    // What changes programs and tables afterwards is still allowed.
    let added = guard.cli(&["allowlist", "add", "192.0.2.7", "--role", "client"])?;
    ensure!(added.status.success(), "{added:?}");
    lab.admits(
        guard.home(),
        "192.0.2.7",
        ntpguard_common::maps::tables::Role::Client,
    )
}

/// It looks through all programs for the one that another attaches.
#[test]
fn a_guard_whose_program_others_attach_keeps_one_capability_more() -> Result<()> {
    let lab = Lab::new()?;
    let source = lab.write("ntp.conf", "")?;
    let guard = lab
        .guard()
        .source(&source)
        .args(["--attach", "external"])
        .start()?;
    ntpguard_tests::wait::eventually(std::time::Duration::from_secs(10), "its start", || {
        let status = guard.json(&["status", "--json"])?;
        ensure!(status["daemon"]["pid"] == guard.id(), "{status}");
        Ok(())
    })?;
    ensure_confined(guard.id(), KEPT | ADMIN)
}
