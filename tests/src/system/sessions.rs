//! People who are logged in, and their own service managers.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    chronyd,
    machine::{Machine, UNNAMED},
};
use crate::{process, wait::eventually};

const USER: &str = "alice";
const UID: &str = "1000";
const MANAGER: &str = "user@1000.service";
/// The user's unit has the name of the system's.
const UNIT: &str = "chrony.service";

/// A user with a service manager. Both go when this is dropped.
struct User {
    home: String,
}

impl User {
    fn new() -> Result<Self> {
        run(&["useradd", "--create-home", "--uid", UID, USER])?;
        let user = Self {
            home: format!("/home/{USER}"),
        };
        run(&["systemctl", "start", MANAGER])?;
        Ok(user)
    }

    /// Runs a command line of the user's.
    fn run(&self, line: &[&str]) -> Result<String> {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", UID, "--regid", UID, "--clear-groups"]);
        command
            .args(line)
            .env("HOME", &self.home)
            .env("XDG_RUNTIME_DIR", format!("/run/user/{UID}"));
        process::run(command)
    }

    /// Installs a service of the user's that asks a server with a chronyd of the user's own.
    fn install(&self) -> Result<()> {
        let home = &self.home;
        let program = format!("{home}/chronyd");
        self.run(&["cp", chronyd::PROGRAM, &program])?;
        let directory = format!("{home}/.config/systemd/user");
        self.run(&["mkdir", "-p", &directory])?;
        let options = chronyd::OPTIONS.join(" ");
        let directives = chronyd::apart(&format!("{home}/pid")).join("' '");
        let text = format!(
            "[Service]\nExecStart={program} {options} 'server {UNNAMED} iburst' '{directives}'\n"
        );
        let path = format!("{directory}/{UNIT}");
        fs::write(&path, text).with_context(|| format!("cannot write {path}"))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        for line in [
            ["systemctl", "stop", MANAGER],
            ["userdel", "--remove", USER],
        ] {
            if let Err(error) = run(&line) {
                eprintln!("{USER} stays: {error:#}");
            }
        }
    }
}

fn run(line: &[&str]) -> Result<()> {
    let (program, arguments) = line.split_first().context("an empty command line")?;
    process::run_program(program, arguments).map(drop)
}

pub(super) fn user_service_is_not_trusted(machine: &mut Machine) -> Result<()> {
    let user = User::new()?;
    user.install()?;
    user.run(&["systemctl", "--user", "start", UNIT])?;
    let asked = || -> Result<String> {
        let status = machine.status()?;
        let ungranted = status.traffic.ungranted;
        let of_user = ungranted.iter().find(|row| {
            row.address == UNNAMED
                && row
                    .cgroup
                    .as_ref()
                    .is_some_and(|name| name.contains(MANAGER))
        });
        let cgroup = of_user.and_then(|row| row.cgroup.clone());
        cgroup.with_context(|| format!("not asked by a user: {ungranted:?}"))
    };
    let story = || {
        user.run(&["systemctl", "--user", "status", "--no-pager", UNIT])
            .unwrap_or_else(|error| format!("{error:#}"))
    };
    let cgroup =
        eventually(Duration::from_secs(30), "a user's request", asked).with_context(story)?;
    ensure!(cgroup.ends_with(&format!("/{UNIT}")), "asked from {cgroup}");
    machine.wait_look()?;
    let status = machine.status()?;
    let trusted = status.traffic.trusted_senders.iter();
    let of_users: Vec<_> = trusted
        .filter(|sender| sender.cgroup.starts_with("/user.slice"))
        .collect();
    ensure!(of_users.is_empty(), "trusted are {of_users:?}");
    let replied = status.traffic.servers.iter();
    let admitted = replied
        .filter(|server| server.address == UNNAMED)
        .map(|server| server.replies)
        .sum::<u64>();
    ensure!(!machine.grants(UNNAMED)?, "{UNNAMED} is granted something");
    ensure!(
        admitted == 0,
        "{admitted} replies to the user were admitted"
    );
    Ok(())
}
