//! Processes that have the program name of a time daemon and do nothing.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    namespace::Namespace,
    process::{self, Process},
};

/// What is copied: it waits for as long as its arguments say.
const WAITS: &str = "sleep";

/// Longer than any test.
const SECONDS: &str = "3600";

/// Programs of root's by other names, which every user may execute.
#[derive(Debug)]
pub struct StandIns {
    directory: TempDir,
}

impl StandIns {
    /// A place for them.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn new() -> Result<Self> {
        let directory = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .context("no place for stand-ins")?;
        Ok(Self { directory })
    }

    /// The program of this name.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let copy = self.directory.path().join(name);
        if !copy.exists() {
            let original = process::run_program("sh", &["-c", &format!("command -v {WAITS}")])?;
            fs::copy(original.trim(), &copy)
                .with_context(|| format!("cannot copy {}", original.trim()))?;
        }
        Ok(copy)
    }

    /// Starts one of root's.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(&self, namespace: &Namespace, name: &str) -> Result<Process> {
        let mut command = namespace.command(self.program(name)?);
        command.arg(SECONDS);
        Process::spawn(command)
    }

    /// Starts as many of a user's, each with `padding` bytes more on its command line than it needs.
    ///
    /// # Errors
    ///
    /// When one cannot be started.
    pub fn crowd(
        &self,
        namespace: &Namespace,
        user: u32,
        names: &[&str],
        count: usize,
        padding: usize,
    ) -> Result<Crowd> {
        let programs: Vec<PathBuf> = names
            .iter()
            .map(|name| self.program(name))
            .collect::<Result<_>>()?;
        let seconds = "0".repeat(padding) + SECONDS;
        namespace.enter(move || {
            let mut crowd = Crowd {
                children: Vec::new(),
            };
            for program in programs.iter().cycle().take(count) {
                let mut command = Command::new(program);
                command.arg(&seconds).uid(user).gid(user);
                for stream in [Command::stdin, Command::stdout, Command::stderr] {
                    stream(&mut command, Stdio::null());
                }
                let child = command.spawn();
                crowd.children.push(child.context("cannot start one more")?);
            }
            Ok(crowd)
        })
    }
}

/// A crowd of processes, which end with this.
#[derive(Debug)]
pub struct Crowd {
    children: Vec<Child>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It can only fail for one that has ended.
            child.kill().ok();
        }
        for child in &mut self.children {
            child.wait().ok();
        }
    }
}
