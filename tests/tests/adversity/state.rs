//! A state file that cannot be used, and a state directory that is full.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{guard::Home, lab::Lab, wait::eventually};

use super::{CHANGE_LIMIT, KNOWN, NEW, STRANGER, line, status};

/// A state file of a newer version, in which `KNOWN` is denied.
fn newer() -> String {
    format!(
        r#"{{"schema": 99, "rows": [{{"prefix": "{KNOWN}/32", "role": "none", "origin": "manual", "why": []}}]}}"#
    )
}

fn files(home: &Home) -> Result<Vec<String>> {
    let entries = fs::read_dir(home.state_dir())?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.starts_with("state."));
    names.sort();
    Ok(names)
}

#[test]
fn a_newer_state_file_stays_until_another_is_written_and_its_denials_hold() -> Result<()> {
    let lab = Lab::new()?;
    let home = Home::new()?;
    fs::create_dir_all(home.state_dir())?;
    let path = home.state_dir().join("state.json");
    for unusable in [newer(), newer() + "}"] {
        fs::write(&path, &unusable)?;
        for verb in [&["allowlist", "list"][..], &["sources"], &["status"]] {
            lab.cli(&home, verb)?;
            ensure!(
                fs::read_to_string(&path)? == unusable,
                "{verb:?} changed it"
            );
        }
        let listed = lab.cli(&home, &["allowlist", "list"])?;
        let said = String::from_utf8_lossy(&listed.stderr).into_owned();
        ensure!(said.contains("to go back, stop ntpguard"), "{said}");

        let source = lab.write("ntp.conf", &(line(KNOWN) + &line(NEW)))?;
        let mut guard = lab.guard().home(&home).source(&source).ready()?;
        lab.drops(&home, KNOWN, Role::Server)?;
        lab.admits(&home, NEW, Role::Server)?;
        guard.terminate()?;
    }
    ensure!(
        files(&home)?
            == [
                "state.json",
                "state.json.unreadable-1",
                "state.json.unreadable-2"
            ],
        "{:?}",
        files(&home)?
    );
    let first = home.state_dir().join("state.json.unreadable-1");
    ensure!(
        fs::read_to_string(first)? == newer(),
        "the first is another"
    );
    Ok(())
}

/// A file system of its own.
struct Small(PathBuf);

impl Small {
    fn below(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path)?;
        mount(
            Some("tmpfs"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=64k"),
        )?;
        Ok(Self(path))
    }
}

/// Writes until there is no space left.
fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    Ok(())
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}

#[test]
fn a_full_state_directory_is_said_once_and_that_it_is_free_again_once() -> Result<()> {
    let lab = Lab::new()?;
    let home = Home::new()?;
    let small = Small::below(home.state_dir())?;
    let source = lab.write("ntp.conf", &line(KNOWN))?;
    let guard = lab.guard().home(&home).source(&source).ready()?;
    let filler = small.0.join("filler");
    fill(&filler)?;

    let refused = guard.cli(&["allowlist", "add", STRANGER])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success() && said.contains("No space left on device"),
        "{said}"
    );
    lab.drops(&home, STRANGER, Role::Server)?;
    // Each change is written to the tables, and cannot be written down.
    for address in [NEW, KNOWN, NEW] {
        fs::write(&source, line(address))?;
        eventually(CHANGE_LIMIT, "the change in the kernel", || {
            lab.admits(&home, address, Role::Server)
        })?;
    }
    let error = status(&guard)?["trouble"].to_string();
    ensure!(error.contains("No space left"), "{error}");
    fs::remove_file(&filler)?;
    fs::write(&source, line(KNOWN))?;
    eventually(Duration::from_secs(5), "a line that says so", || {
        ensure!(guard.stderr().contains("are up to date again"), "");
        Ok(())
    })?;
    let log = guard.stderr();
    let full = log.matches("cannot write the state file").count();
    let free = log.matches("are up to date again").count();
    ensure!((full, free) == (1, 1), "{full} and {free} times: {log}");
    ensure!(status(&guard)?["trouble"].is_null(), "still in trouble");
    Ok(())
}
