//! Files that cannot be read: what they granted stays, and they are read when they are good again.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
};

use anyhow::{Result, ensure};
use nix::{sys::stat::Mode, unistd::mkfifo};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{lab::Lab, wait::eventually};

use super::{CHANGE_LIMIT, KNOWN, NEW, Watched, line, status, unhurt};

impl Watched {
    /// Something that cannot be read takes the file's place: nothing changes. Then comes a good
    /// file, and counts.
    fn survives(&self, words: &str, spoil: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        fs::remove_file(&self.file)?;
        spoil(&self.file)?;
        self.told(0, words)?;
        unhurt(&self.lab, &self.guard)?;
        if self.file.is_dir() {
            fs::remove_dir_all(&self.file)?;
        } else if self.file.symlink_metadata().is_ok() {
            fs::remove_file(&self.file)?;
        }
        fs::write(&self.file, line(NEW))?;
        self.changed_to(NEW, KNOWN)
    }
}

#[test]
fn a_file_that_is_removed_keeps_its_grants_until_it_is_back() -> Result<()> {
    Watched::new()?.survives("no such file", |_| Ok(()))
}

#[test]
fn a_file_that_becomes_a_directory_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("not a regular file", |path| Ok(fs::create_dir(path)?))
}

#[test]
fn a_file_that_becomes_a_fifo_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("not a regular file", |path| {
        Ok(mkfifo(path, Mode::S_IRWXU)?)
    })
}

#[test]
fn a_file_that_becomes_a_socket_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("not a regular file", |path| {
        drop(UnixListener::bind(path)?);
        Ok(())
    })
}

#[test]
fn a_file_that_becomes_endless_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("not a regular file", |path| Ok(symlink("/dev/zero", path)?))
}

#[test]
fn a_file_that_becomes_a_link_to_itself_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("", |path| Ok(symlink(path, path)?))
}

#[test]
fn a_file_that_becomes_binary_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("NUL byte", |path| {
        let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
        Ok(fs::write(path, bytes)?)
    })
}

#[test]
fn a_file_of_100_megabytes_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("1 MiB", |path| {
        let mut file = File::create(path)?;
        let block = "server 203.0.113.9\n".repeat(55_000);
        for _ in 0..100 {
            file.write_all(block.as_bytes())?;
        }
        Ok(())
    })
}

#[test]
fn a_start_without_a_readable_file_guards_and_reads_it_when_it_comes() -> Result<()> {
    let lab = Lab::new()?;
    let file = lab.file("ntp.conf");
    let dialect = format!("ntp.conf:{}", file.display());
    let guard = lab.guard().args(["--source", &dialect]).ready()?;
    lab.drops(guard.home(), KNOWN, Role::Server)?;
    let problems = status(&guard)?["problems"].to_string();
    ensure!(problems.contains("no such file"), "{problems}");
    fs::write(&file, line(KNOWN))?;
    eventually(CHANGE_LIMIT, "the file in the kernel", || {
        lab.admits(guard.home(), KNOWN, Role::Server)
    })?;
    unhurt(&lab, &guard)
}

#[test]
fn an_included_file_that_cannot_be_read_keeps_its_own_grants_alone() -> Result<()> {
    let lab = Lab::new()?;
    let included = lab.write("more.conf", &line(KNOWN))?;
    let includes = format!("includefile {}\n", included.display());
    let source = lab.write("ntp.conf", &format!("{includes}{}", line(NEW)))?;
    let guard = lab.guard().source(&source).ready()?;
    lab.admits(guard.home(), NEW, Role::Server)?;
    fs::write(&included, b"server 192.0.2.4\n\0")?;
    fs::write(&source, format!("{includes}{}", line("192.0.2.3")))?;
    eventually(CHANGE_LIMIT, "the change in the kernel", || {
        lab.admits(guard.home(), "192.0.2.3", Role::Server)?;
        lab.drops(guard.home(), NEW, Role::Server)
    })?;
    let problems = status(&guard)?["problems"].to_string();
    ensure!(problems.contains("more.conf"), "{problems}");
    unhurt(&lab, &guard)
}
