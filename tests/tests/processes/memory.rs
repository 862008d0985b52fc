//! Processes whose command line is as large as memory.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ntpguard_tests::{guard::Guard, process::Process, wait::eventually};

use super::{PERSON, SOON, Scene, findings, look};

/// The most memory that a guard may ever have taken: it has some 30 MB for itself without
/// optimisation.
const MOST: u64 = 64 << 20;

/// How long a look at the processes may take.
const QUICK: Duration = Duration::from_secs(5);

fn huge(scene: &Scene, uid: u32) -> Result<Process> {
    let chronyd = scene.impostor("chronyd", 0o755)?;
    let mut process = scene.start(uid, &chronyd, &["huge"])?;
    eventually(SOON, "the impostor", || {
        process.ensure_running()?;
        ensure!(process.stdout().contains("huge"), "not yet");
        Ok(())
    })?;
    Ok(process)
}

fn stays_small(guard: &Guard) -> Result<()> {
    let started = Instant::now();
    look(guard)?;
    look(guard)?;
    ensure!(started.elapsed() < QUICK, "{:?}", started.elapsed());
    let (_, most) = guard.resident()?;
    ensure!(most < MOST, "{most} bytes");
    Ok(())
}

#[test]
fn a_users_command_line_is_not_read() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard().ready()?;
    let _impostor = huge(&scene, PERSON)?;
    stays_small(&guard)?;
    let findings = findings(&guard)?;
    ensure!(findings.is_empty(), "{findings:?}");
    Ok(())
}

#[test]
fn roots_command_line_is_read_to_a_bound() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard().ready()?;
    let _impostor = huge(&scene, 0)?;
    stays_small(&guard)?;
    let findings = findings(&guard)?;
    let is_told = findings
        .iter()
        .any(|text| text.contains("longer than 64 KiB"));
    ensure!(is_told, "{findings:?}");
    Ok(())
}
