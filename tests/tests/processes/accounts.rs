//! Root's chronyd, started by others than root.

use std::path::Path;

use anyhow::{Result, ensure};
use ntpguard_tests::{config::ConfigFile, wait::eventually};

use super::{PERSON, SERVICE, Scene, findings, granted, look};

const ATTACK: [&str; 2] = ["server 203.0.113.1", "allow all"];

#[test]
fn a_service_account_that_starts_roots_chronyd_is_not_believed() -> Result<()> {
    let scene = Scene::new()?;
    let mut chronyd = scene.chronyd(SERVICE, &ATTACK)?;
    let guard = scene.guard().ready()?;
    look(&guard)?;
    chronyd.ensure_running()?;
    let granted = granted(&guard)?;
    ensure!(granted.is_empty(), "{granted:?}");
    let findings = findings(&guard)?;
    let [finding] = findings.as_slice() else {
        anyhow::bail!("{findings:?}");
    };
    let cure = "`accounts = { chronyd = [\"www-data\"] }`";
    ensure!(finding.contains(cure), "{finding}");
    // Each look finds it again, and one logs it.
    look(&guard)?;
    let log = guard.stderr();
    ensure!(log.matches("runs as www-data").count() == 1, "{log}");
    Ok(())
}

#[test]
fn a_service_account_is_believed_once_root_has_named_it() -> Result<()> {
    let scene = Scene::new()?;
    let config = ConfigFile::guard("accounts = { chronyd = [\"www-data\"] }\n")?;
    let _chronyd = scene.chronyd(SERVICE, &ATTACK)?;
    let guard = scene.guard().config(config.path()).ready()?;
    eventually(super::SOON, "the server", || {
        let granted = granted(&guard)?;
        ensure!(granted == ["203.0.113.1/32 server"], "{granted:?}");
        Ok(())
    })
}

/// Anybody could fill the log with findings.
#[test]
fn a_person_who_starts_roots_chronyd_is_neither_believed_nor_a_finding() -> Result<()> {
    let scene = Scene::new()?;
    let mut chronyd = scene.chronyd(PERSON, &ATTACK)?;
    let guard = scene.guard().ready()?;
    look(&guard)?;
    chronyd.ensure_running()?;
    let granted = granted(&guard)?;
    ensure!(granted.is_empty(), "{granted:?}");
    let findings = findings(&guard)?;
    ensure!(findings.is_empty(), "{findings:?}");
    let log = guard.stderr();
    ensure!(!log.contains("chronyd runs as"), "{log}");
    Ok(())
}

#[test]
fn a_guard_that_may_not_look_at_processes_says_so() -> Result<()> {
    let scene = Scene::new()?;
    let _chronyd = scene.chronyd(0, &ATTACK)?;
    let program = ntpguard_tests::guard::program()?;
    let state = scene.files.path().join("none");
    let arguments = ["sources", "--state-dir", &state.to_string_lossy()];
    let copy = scene.files.path().join("ntpguard");
    std::fs::copy(program, &copy)?;
    eventually(super::SOON, "the finding", || {
        let mut sources = scene.start(PERSON, &copy, &arguments)?;
        sources.wait(super::SOON)?;
        let printed = sources.stdout().replace("\n ", "").replace("  ", " ");
        let cure = ["cannot inspect the running chronyd", "CAP_SYS_PTRACE"];
        ensure!(
            cure.iter().all(|text| printed.contains(text)),
            "{}",
            sources.story()
        );
        Ok(())
    })
}

/// One file is hundreds of programs, of which services run many. This one only sleeps, whatever it is called.
#[test]
fn a_service_that_runs_busybox_is_a_finding_only_where_it_is_called_as_ntpd() -> Result<()> {
    let scene = Scene::new()?;
    let busybox = scene.files.path().join("busybox");
    std::fs::copy("/bin/sleep", &busybox)?;
    let mut sleeping = scene.start(SERVICE, &busybox, &["3000"])?;
    let guard = scene.guard().ready()?;
    look(&guard)?;
    sleeping.ensure_running()?;
    let before = findings(&guard)?;
    ensure!(before.is_empty(), "{before:?}");
    let script = format!("exec -a ntpd {} 3000", busybox.display());
    let mut ntpd = scene.start(SERVICE, Path::new("/bin/bash"), &["-c", &script])?;
    let cure = "`accounts = { busybox = [\"www-data\"] }`";
    eventually(super::SOON, "the finding", || {
        look(&guard)?;
        let found = findings(&guard)?;
        ensure!(found.len() == 1 && found[0].contains(cure), "{found:?}");
        Ok(())
    })?;
    ntpd.ensure_running()
}
