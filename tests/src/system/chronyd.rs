//! Further chronyds of the system's own program, beside the one of its service.

use std::{fs, net::IpAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{process, wait::eventually};

/// The system's program.
pub const PROGRAM: &str = "/usr/sbin/chronyd";

/// How long a chronyd may take on an emulated CPU until it works.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Options that keep a chronyd in the foreground and away from the clock, whoever runs it.
pub const OPTIONS: [&str; 3] = ["-d", "-x", "-U"];

/// Directives that keep it out of the way of the service's: chronyd 4.3 always writes a file with its
/// process id.
pub fn apart(pid_file: &str) -> [String; 4] {
    [
        format!("pidfile {pid_file}"),
        "bindcmdaddress /".to_owned(),
        "cmdport 0".to_owned(),
        "port 0".to_owned(),
    ]
}

/// The file that a chronyd of this name writes when it begins to work.
fn pid_file(name: &str) -> String {
    format!("/run/chrony/{name}.pid")
}

/// A file that only root can write, with one server and what keeps its chronyd apart. It is where
/// AppArmor lets chronyd read.
///
/// # Errors
///
/// When it cannot be written.
pub fn configuration(name: &str, server: IpAddr) -> Result<String> {
    let path = format!("/etc/chrony/{name}.conf");
    let apart = apart(&pid_file(name)).join("\n");
    let text = format!("server {server} iburst minpoll 0 maxpoll 0\n{apart}\n");
    fs::write(&path, text).with_context(|| format!("cannot write {path}"))?;
    Ok(path)
}

/// A chronyd in a transient unit of its own, stopped when this is dropped.
#[derive(Debug)]
pub struct Unit {
    name: String,
}

impl Unit {
    /// Starts a service of chronyd's account with private directories, which asks `server`, and waits
    /// until it works.
    ///
    /// # Errors
    ///
    /// When systemd does not start it, or it ends; with its log.
    pub fn sandboxed(name: &str, server: IpAddr) -> Result<Self> {
        let configuration = configuration(name, server)?;
        let unit = format!("{name}.service");
        let mut run = Command::new("systemd-run");
        run.args(["--quiet", "--collect", "--unit", &unit]);
        run.args(["-p", "PrivateTmp=yes", "-p", "User=_chrony", PROGRAM]);
        run.args(OPTIONS).args(["-f", &configuration]);
        process::run(run)?;
        let started = Self { name: unit };
        eventually(START_LIMIT, "the start of a chronyd", || {
            let path = pid_file(name);
            ensure!(Path::new(&path).exists(), "there is no {path}");
            Ok(())
        })
        .with_context(|| started.story())?;
        Ok(started)
    }

    /// What the kernel calls its cgroup.
    pub fn cgroup(&self) -> String {
        format!("/system.slice/{}", self.name)
    }

    /// Its state and its log, for error messages.
    pub fn story(&self) -> String {
        let line = ["status", "--no-pager", "--full", &self.name];
        let mut status = Command::new("systemctl");
        status.args(line);
        match process::output(status, process::COMMAND_LIMIT) {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => format!("{error:#}"),
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if let Err(error) = process::run_program("systemctl", &["stop", &self.name]) {
            eprintln!("cannot stop {}: {error:#}", self.name);
        }
    }
}
