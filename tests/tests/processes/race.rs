//! A user's process that becomes root's while it is looked at.

use std::{
    fs,
    os::unix::fs::chown,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{PERSON, Scene, granted, look};

/// How long it is tried. While processes were read once, that was more than enough.
const TRIED: Duration = Duration::from_secs(15);

/// The user's `chronyd -f FILE` executes a set-uid program of root's again and again, and the guard
/// looks as often as it can.
#[test]
fn a_user_who_executes_a_set_uid_program_is_not_believed() -> Result<()> {
    let scene = Scene::new()?;
    let race = scene.impostor("impostor", 0o755)?;
    let chronyd = scene.impostor("chronyd", 0o755)?;
    chown(&chronyd, Some(PERSON), Some(PERSON)).context("cannot give it away")?;
    let set_uid = scene.impostor("set-uid", 0o4755)?;
    let file = scene.files.path().join("evil.conf");
    fs::write(&file, "server 203.0.113.9\nallow all\n")?;
    let guard = scene.guard().ready()?;
    let arguments = ["race", text(&chronyd)?, text(&set_uid)?, text(&file)?];
    let mut attack = scene.start(PERSON, &race, &arguments)?;
    let end = Instant::now() + TRIED;
    while Instant::now() < end {
        look(&guard)?;
        let granted = granted(&guard)?;
        ensure!(granted.is_empty(), "{granted:?}");
    }
    attack.ensure_running()?;
    let log = guard.stderr();
    ensure!(!log.contains("evil.conf"), "{log}");
    Ok(())
}

fn text(path: &std::path::Path) -> Result<&str> {
    path.to_str().context("not text")
}
