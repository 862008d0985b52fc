//! Whether what is pinned lasts: a BPF file system that is unmounted, and one that only this guard sees.

use std::process::Command;

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{
    guard::{Counts, Guard},
    lab::Lab,
    process,
    wait::eventually,
};

use super::losses::{REPAIRED_WITHIN, findings};

/// Gives the guard a mount namespace with a BPF file system of its own.
const PRIVATELY: [&str; 5] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    "while umount -l /sys/fs/bpf 2>/dev/null; do :; done; mount -t bpf bpf /sys/fs/bpf && exec \"$0\" \"$@\"",
];

/// Runs a command in the guard's mount namespace.
fn beside(guard: &Guard, line: &[&str]) -> Result<String> {
    let mut command = Command::new("nsenter");
    let target = format!("--target={}", guard.id());
    command.args([&target, "--mount", "--"]).args(line);
    process::run(command)
}

fn private(lab: &Lab) -> Result<Guard> {
    let source = lab.write("ntp.conf", "server 192.0.2.1\n")?;
    lab.guard().source(&source).under(PRIVATELY).ready()
}

/// Whether the guard drops what a stranger sends, as the socket sees it.
fn ensure_drops(lab: &Lab) -> Result<()> {
    let before = lab.sink.count();
    let raw = ntpguard_tests::packets::raw::RawSocket::open(&lab.outside.port)?;
    for _ in 0..20 {
        raw.send(&lab.frame("203.0.113.9".parse()?, Role::Server)?)?;
    }
    lab.flush()?;
    ensure!(lab.sink.count() == before, "a stranger got through");
    Ok(())
}

#[test]
fn a_bpf_file_system_of_its_own_is_told() -> Result<()> {
    let lab = Lab::new()?;
    let guard = private(&lab)?;
    let said = findings(&guard)?;
    ensure!(
        said.contains("mount namespace only: the guard does not outlive it"),
        "{said}"
    );
    ensure!(
        guard.stderr().contains("does not outlive it"),
        "{}",
        guard.stderr()
    );
    // Nobody else sees those pins.
    ensure!(
        Counts::in_kernel(guard.home()).is_err(),
        "it is not private"
    );
    ensure_drops(&lab)
}

#[test]
fn a_guard_goes_on_without_its_file_system_and_pins_into_the_next() -> Result<()> {
    let lab = Lab::new()?;
    let guard = private(&lab)?;
    let links = guard.home().pin_dir().join("links");
    let links = links.to_string_lossy();
    let pinned = beside(&guard, &["ls", &links])?;
    ensure_drops(&lab)?;
    beside(&guard, &["umount", "-l", "/sys/fs/bpf"])?;
    ensure_drops(&lab)?;
    eventually(REPAIRED_WITHIN, "a line about it", || {
        let said = guard.stderr();
        ensure!(said.contains("/sys/fs/bpf is no longer mounted"), "{said}");
        Ok(())
    })?;
    let said = findings(&guard)?;
    ensure!(
        said.contains("is no longer mounted") && said.contains("mount -t bpf bpf /sys/fs/bpf"),
        "{said}"
    );
    ensure_drops(&lab)?;
    // Without pins it is loaded all the same.
    let unload = guard.cli(&["unload"])?;
    let said = String::from_utf8_lossy(&unload.stderr).replace('\n', " ");
    let pid = format!("(pid {})", guard.id());
    ensure!(
        !unload.status.success() && said.contains(&pid) && said.contains("keeps its programs"),
        "{unload:?}"
    );
    // Grants are changed by descriptor, not by path.
    let edited = guard.cli(&["allowlist", "add", "203.0.113.9"])?;
    ensure!(edited.status.success(), "{edited:?}");
    lab.arrives_unguarded("203.0.113.9", Role::Server)?;
    let removed = guard.cli(&["allowlist", "remove", "203.0.113.9"])?;
    ensure!(removed.status.success(), "{removed:?}");

    beside(&guard, &["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"])?;
    eventually(REPAIRED_WITHIN, "pins in the new one", || {
        let again = beside(&guard, &["ls", &links])?;
        ensure!(again == pinned, "{again}");
        Ok(())
    })?;
    let said = guard.stderr();
    ensure!(
        said.contains("another BPF file system is mounted there"),
        "{said}"
    );
    ensure!(!findings(&guard)?.contains("no longer mounted"), "{said}");
    ensure_drops(&lab)
}
