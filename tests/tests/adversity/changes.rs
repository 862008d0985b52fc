//! Files and directories that change: each change is noticed, however it is made.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::symlink,
    thread,
    time::Duration,
};

use anyhow::Result;
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{lab::Lab, wait::eventually};

use super::{CHANGE_LIMIT, KNOWN, NEW, Watched, line, unhurt};

#[test]
fn an_empty_file_is_a_good_file_that_names_nobody() -> Result<()> {
    let watched = Watched::new()?;
    fs::write(&watched.file, "")?;
    eventually(CHANGE_LIMIT, "the change in the kernel", || {
        watched.lab.drops(watched.guard.home(), KNOWN, Role::Server)
    })?;
    fs::write(&watched.file, line(NEW))?;
    watched.changed_to(NEW, KNOWN)
}

#[test]
fn a_half_written_file_counts_as_far_as_it_goes() -> Result<()> {
    let watched = Watched::new()?;
    fs::write(
        &watched.file,
        format!(
            "{}# more\nserver 192.0.2.999\n{}serv",
            line(KNOWN),
            line(NEW)
        ),
    )?;
    watched.told(3, "192.0.2.999")?;
    watched.told(5, "serv")?;
    unhurt(&watched.lab, &watched.guard)?;
    watched
        .lab
        .admits(watched.guard.home(), NEW, Role::Server)?;
    fs::write(&watched.file, line(NEW))?;
    watched.changed_to(NEW, KNOWN)
}

#[test]
fn a_file_that_is_being_written_is_left_alone_until_it_is_closed() -> Result<()> {
    let watched = Watched::new()?;
    let mut file = File::create(&watched.file)?;
    file.write_all(line(NEW).as_bytes())?;
    // A change is in the kernel by then, if it is to be.
    thread::sleep(Duration::from_secs(2));
    unhurt(&watched.lab, &watched.guard)?;
    watched.lab.drops(watched.guard.home(), NEW, Role::Server)?;
    drop(file);
    watched.changed_to(NEW, KNOWN)
}

#[test]
fn an_edit_in_place_is_noticed_each_time() -> Result<()> {
    let watched = Watched::new()?;
    for (new, old) in [(NEW, KNOWN), (KNOWN, NEW), (NEW, KNOWN)] {
        fs::write(&watched.file, line(new))?;
        watched.changed_to(new, old)?;
    }
    Ok(())
}

#[test]
fn a_replacement_by_rename_is_noticed_each_time() -> Result<()> {
    let watched = Watched::new()?;
    for (new, old) in [(NEW, KNOWN), (KNOWN, NEW), (NEW, KNOWN)] {
        let temporary = watched.directory.join("new");
        fs::write(&temporary, line(new))?;
        fs::rename(&temporary, &watched.file)?;
        watched.changed_to(new, old)?;
    }
    Ok(())
}

#[test]
fn a_directory_that_is_moved_away_and_back_is_noticed() -> Result<()> {
    let watched = Watched::new()?;
    let aside = watched.lab.file("aside");
    fs::rename(&watched.directory, &aside)?;
    watched.told(0, "no such file")?;
    unhurt(&watched.lab, &watched.guard)?;
    fs::write(aside.join("ntp.conf"), line(NEW))?;
    fs::rename(&aside, &watched.directory)?;
    watched.changed_to(NEW, KNOWN)?;
    fs::write(&watched.file, line(KNOWN))?;
    watched.changed_to(KNOWN, NEW)
}

#[test]
fn a_directory_that_another_replaces_at_once_is_noticed() -> Result<()> {
    let watched = Watched::new()?;
    let next = watched.lab.file("next");
    fs::create_dir(&next)?;
    fs::write(next.join("ntp.conf"), line(NEW))?;
    fs::rename(&watched.directory, watched.lab.file("aside"))?;
    fs::rename(&next, &watched.directory)?;
    watched.changed_to(NEW, KNOWN)?;
    // The new directory is watched now, and not the old.
    fs::write(&watched.file, line(KNOWN))?;
    watched.changed_to(KNOWN, NEW)
}

#[test]
fn a_symlink_that_is_turned_to_another_directory_is_noticed() -> Result<()> {
    let lab = Lab::new()?;
    for (directory, address) in [("v1", KNOWN), ("v2", NEW)] {
        fs::create_dir(lab.file(directory))?;
        fs::write(lab.file(directory).join("ntp.conf"), line(address))?;
    }
    let current = lab.file("current");
    symlink(lab.file("v1"), &current)?;
    let guard = lab.guard().source(&current.join("ntp.conf")).ready()?;
    lab.admits(guard.home(), KNOWN, Role::Server)?;
    symlink(lab.file("v2"), lab.file("turned"))?;
    fs::rename(lab.file("turned"), &current)?;
    eventually(CHANGE_LIMIT, "the change in the kernel", || {
        lab.admits(guard.home(), NEW, Role::Server)?;
        lab.drops(guard.home(), KNOWN, Role::Server)
    })
}
