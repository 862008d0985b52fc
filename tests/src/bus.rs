//! A D-Bus of a test's own, in the place of the system's.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    process::{self, Process},
    wait::eventually,
};

/// How long the bus has until it listens.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running dbus-daemon on which everybody may do everything.
#[derive(Debug)]
pub struct Bus {
    process: Process,
    directory: TempDir,
}

impl Bus {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// When dbus-daemon is missing or does not start.
    pub fn start() -> Result<Self> {
        // Daemons speak to it as other users.
        let directory = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .context("no place for a bus")?;
        let socket = directory.path().join("bus");
        let config = format!(
            "<busconfig><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
             <allow send_type=\"method_call\"/><allow send_type=\"signal\"/>\
             <allow send_requested_reply=\"true\"/><allow receive_type=\"method_call\"/>\
             <allow receive_type=\"signal\"/><allow receive_requested_reply=\"true\"/>\
             </policy></busconfig>",
            socket.display()
        );
        let file = directory.path().join("bus.conf");
        fs::write(&file, config)?;
        let mut command = Command::new("dbus-daemon");
        command
            .args(["--nofork", "--nopidfile", "--config-file"])
            .arg(&file);
        let mut started = Self {
            process: Process::spawn(command)?,
            directory,
        };
        eventually(START_LIMIT, "the bus", || {
            ensure!(socket.exists(), "no {}", socket.display());
            Ok(())
        })
        .map_err(|error| started.process.explain(error))?;
        Ok(started)
    }

    /// The variable that names it to those who look for the system's bus.
    pub fn variable(&self) -> (&'static str, String) {
        let path = self.directory.path().join("bus");
        (
            "DBUS_SYSTEM_BUS_ADDRESS",
            format!("unix:path={}", path.display()),
        )
    }

    /// Calls a method, with the words of dbus-send(1).
    ///
    /// # Errors
    ///
    /// When that fails; with what it said.
    pub fn call(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new("dbus-send");
        command
            .envs([self.variable()])
            .args(["--system", "--print-reply"])
            .args(words);
        process::run(command).map(drop)
    }
}
