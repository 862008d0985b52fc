//! Child processes that never outlive their owner.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tempfile::TempDir;

/// How long a command may take that has nothing to wait for.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// A running program in a process group of its own, killed and reaped on drop.
///
/// What it prints goes to files, so that it never blocks on a full pipe.
#[derive(Debug)]
pub struct Process {
    child: Child,
    printed: TempDir,
    line: String,
}

impl Process {
    /// Starts `command` with no input.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let line = format!("{command:?}");
        let printed = tempfile::tempdir().context("no place for a program's output")?;
        let file = |name| File::create(printed.path().join(name));
        let child = command
            .stdin(Stdio::null())
            .stdout(file("stdout")?)
            .stderr(file("stderr")?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {line}"))?;
        Ok(Self {
            child,
            printed,
            line,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed on standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.printed.path().join("stdout"))
    }

    /// What it printed on standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.printed.path().join("stderr"))
    }

    /// Its command line and everything it printed, for error messages.
    pub fn story(&self) -> String {
        format!("{}\n{}{}", self.line, self.stdout(), self.stderr())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("cannot wait for {}", self.line))
    }

    /// Fails with its story if it has ended.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("ended with {status}: {}", self.story()),
        }
    }

    /// Adds to an error whether the program still runs, and what it printed.
    pub fn explain(&mut self, error: Error) -> Error {
        match self.ensure_running() {
            Ok(()) => error.context(format!("with this still running: {}", self.story())),
            Err(ended) => error.context(ended),
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("cannot send {signal} to {}", self.line))
    }

    /// Waits until it ends.
    ///
    /// # Errors
    ///
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            ensure!(
                Instant::now() < end,
                "still running after {limit:?}: {}",
                self.story()
            );
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A group may outlive its leader, but once that is reaped the number may be another's.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // Both can only fail for a process that is gone.
            killpg(self.pid(), Signal::SIGKILL).ok();
            self.child.wait().ok();
        }
    }
}

/// Runs `command` to its end, and gives its output whatever its status.
///
/// # Errors
///
/// When it cannot be started, or still runs after `limit`; it is killed then.
pub fn output(command: Command, limit: Duration) -> Result<Output> {
    let mut process = Process::spawn(command)?;
    let status = process.wait(limit)?;
    let bytes = |name| fs::read(process.printed.path().join(name));
    Ok(Output {
        status,
        stdout: bytes("stdout")?,
        stderr: bytes("stderr")?,
    })
}

/// Runs `command` to its end, and gives what it printed.
///
/// # Errors
///
/// When it fails, with everything it printed.
pub fn run(command: Command) -> Result<String> {
    let mut process = Process::spawn(command)?;
    let status = process.wait(COMMAND_LIMIT)?;
    ensure!(status.success(), "{status}: {}", process.story());
    Ok(process.stdout())
}

/// Runs `program` with `arguments` to its end, and gives what it printed.
///
/// # Errors
///
/// As for [`run`].
pub fn run_program(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    run(command)
}

fn read(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => format!("({}: {error})", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_tells_what_was_printed() {
        let error = run(shell("echo one; echo two >&2; exit 3"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("one\ntwo") && error.contains("exit status: 3"),
            "{error}"
        );
    }

    #[test]
    fn a_command_that_hangs_is_given_up() {
        let started = Instant::now();
        assert!(output(shell("sleep 60"), Duration::from_millis(100)).is_err());
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn children_of_a_process_end_with_it() {
        let process = Process::spawn(shell("sleep 60 & echo $!; wait")).unwrap();
        let child = crate::wait::eventually(Duration::from_secs(5), "a child's pid", || {
            Ok(process.stdout().trim().parse::<i32>()?)
        });
        let child = Pid::from_raw(child.unwrap());
        drop(process);
        crate::wait::eventually(Duration::from_secs(5), "the child's end", || {
            // It is a zombie until whoever adopted it reaps it.
            let status = read(Path::new(&format!("/proc/{child}/stat")));
            ensure!(status.is_empty() || status.contains(") Z "), "{status}");
            Ok(())
        })
        .unwrap();
    }
}
