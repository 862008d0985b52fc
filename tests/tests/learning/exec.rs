//! `ntpguard exec` gives a daemon a cgroup where its service manager makes none.

use std::{ffi::OsStr, fs, process::Command};

use anyhow::{Result, ensure};
use ntpguard_tests::{
    cgroup::Cgroup,
    guard,
    process::{self, COMMAND_LIMIT},
};

use super::scene::{Scene, USER};

/// `ntpguard exec --name NAME -- LINE…`.
fn exec(name: &str, line: &[&str]) -> Result<Command> {
    let mut command = Command::new(guard::program()?);
    command.args(["exec", "--name", name, "--"]).args(line);
    Ok(command)
}

/// Fails unless the command ends so, and says these.
fn fails(command: Command, code: i32, said: &[&str]) -> Result<()> {
    let output = process::output(command, COMMAND_LIMIT)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "{output:?}");
    for text in said {
        ensure!(errors.contains(text), "no {text:?} in {errors}");
    }
    Ok(())
}

#[test]
fn a_daemon_that_it_executes_is_trusted_without_an_option() -> Result<()> {
    let scene = Scene::new()?;
    let (cgroup, name) = Cgroup::of_exec()?;
    let words = exec(&name, &["env"])?;
    let words = std::iter::once(words.get_program()).chain(words.get_args());
    let chronyd = scene.chronyd_started_by(words)?;
    let own = fs::read_to_string(format!("/proc/{}/cgroup", chronyd.id()))?;
    ensure!(own.contains(&format!("0::/ntpguard.{name}\n")), "{own}");
    scene.wait_trusted(&cgroup)?;
    ensure!(scene.is_answered(&cgroup, 0)?);
    ensure!(!scene.is_answered(&cgroup, USER)?);
    // As where its supervisor starts it again.
    let id = cgroup.id()?;
    drop(chronyd);
    let words = exec(&name, &["env"])?;
    let words = std::iter::once(words.get_program()).chain(words.get_args());
    let _chronyd = scene.chronyd_started_by(words)?;
    ensure!(cgroup.id()? == id && scene.is_answered(&cgroup, 0)?);
    Ok(())
}

#[test]
fn the_command_keeps_the_process_and_its_output_and_status() -> Result<()> {
    let (_cgroup, name) = Cgroup::of_exec()?;
    let process = process::Process::spawn(exec(&name, &["sh", "-c", "echo $$; exec sleep 60"])?)?;
    ntpguard_tests::wait::eventually(COMMAND_LIMIT, "the process's number", || {
        let printed = process.stdout();
        ensure!(printed.trim() == process.id().to_string(), "{printed}");
        Ok(())
    })?;
    fails(
        exec(&name, &["sh", "-c", "echo wrong >&2; exit 7"])?,
        7,
        &["wrong"],
    )
}

#[test]
fn what_keeps_it_from_a_cgroup_is_said() -> Result<()> {
    let (cgroup, name) = Cgroup::of_exec()?;
    let command = exec(&name, &["true"])?;
    let mut as_user = Command::new("setpriv");
    let uid = USER.to_string();
    as_user
        .args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    fails(
        as_user,
        1,
        &["cannot create the cgroup", &name, "run as root"],
    )?;
    ensure!(!cgroup.path().exists());
    fails(exec("a/b", &["true"])?, 2, &["\"a/b\"", "--name"])?;
    fails(exec(&name, &[])?, 2, &["COMMAND"])?;
    fails(
        exec(&name, &["/no/such/daemon"])?,
        1,
        &["cannot execute /no/such/daemon"],
    )?;
    cgroup.delegate(USER)?;
    fails(
        exec(&name, &["true"])?,
        1,
        &["belongs to uid 1500", "--name"],
    )
}

#[test]
fn without_cgroups_it_says_how_to_mount_them() -> Result<()> {
    let (_cgroup, name) = Cgroup::of_exec()?;
    let command = exec(&name, &["true"])?;
    // A mount namespace from which every hierarchy of version 2 is gone.
    let unmount = r#"umount -a -t cgroup2 && exec "$@""#;
    let mut without = Command::new("unshare");
    without
        .args([
            "--mount",
            "--propagation",
            "private",
            "--",
            "sh",
            "-c",
            unmount,
        ])
        .args([OsStr::new("sh"), command.get_program()])
        .args(command.get_args());
    fails(
        without,
        1,
        &["cgroup v2 is not mounted", "mount -t cgroup2"],
    )
}
