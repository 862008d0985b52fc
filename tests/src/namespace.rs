//! Network namespaces: the hosts of a test.

use std::{
    ffi::OsStr,
    fs::{self, File},
    panic,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex, Once, PoisonError},
    thread,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};

use crate::{
    names,
    process::{self, COMMAND_LIMIT, Process},
    sweep,
};

/// Where iproute2 keeps names of namespaces.
pub(crate) const DIRECTORY: &str = "/run/netns";

/// What the names of all our namespaces begin with.
pub(crate) const PREFIX: &str = "ng";

static SWEPT: Once = Once::new();

/// iproute2 makes its directory a shared mount the first time, and two at once would do so twice.
static ADDING: Mutex<()> = Mutex::new(());

/// What a host needs so that tests see packets and not the kernel's policy on them.
const SETTINGS: &[(&str, &str)] = &[
    // Forged sources must reach the socket where no guard stops them.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    // Addresses are usable at once, and nobody but the test gives any.
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
];

/// A network namespace with its loopback up.
///
/// Clones are the same namespace. When the last is dropped, also by a panic, whatever still runs
/// in it is killed, and it is deleted with its interfaces.
#[derive(Clone, Debug)]
pub struct Namespace {
    owned: Arc<Owned>,
}

#[derive(Debug)]
struct Owned {
    name: String,
}

impl Namespace {
    /// Makes a namespace; `label` ends its name, for people who look.
    ///
    /// # Errors
    ///
    /// Without root, or where the kernel or iproute2 refuses.
    pub fn new(label: &str) -> Result<Self> {
        ensure!(
            geteuid().is_root(),
            "these tests make network namespaces: run them as root"
        );
        SWEPT.call_once(sweep::leftovers);
        let name = format!("{}-{label}", names::unique(PREFIX));
        {
            let _one_at_a_time = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
            process::run_program("ip", &["netns", "add", &name])?;
        }
        let namespace = Self {
            owned: Arc::new(Owned { name }),
        };
        for (setting, value) in SETTINGS {
            namespace.set(setting, value)?;
        }
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns list` has it.
    pub fn name(&self) -> &str {
        &self.owned.name
    }

    /// The file that `setns` and `nsenter` take.
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.owned.name)
    }

    /// Sets one of the kernel's settings for networks: `net/ipv4/ip_forward`.
    ///
    /// # Errors
    ///
    /// When there is none of that name, or it takes no such value.
    pub fn set(&self, setting: &str, value: &str) -> Result<()> {
        self.enter(|| {
            fs::write(Path::new("/proc/sys").join(setting), value)
                .with_context(|| format!("cannot set {setting}"))
        })
    }

    /// The same command, run inside.
    pub fn within(&self, inner: &Command) -> Command {
        let mut command = self.command(inner.get_program());
        command.args(inner.get_args());
        command
    }

    /// A command that will run inside.
    ///
    /// It stays in the mount namespace of the test, unlike under `ip netns exec`, so that pins
    /// in bpffs are seen.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs a command line inside and gives what it printed.
    ///
    /// # Errors
    ///
    /// When it fails or hangs, with everything it printed.
    pub fn run(&self, line: &[&str]) -> Result<String> {
        process::run(self.line(line)?)
    }

    /// Runs a command line inside and gives its output whatever its status.
    ///
    /// # Errors
    ///
    /// When it cannot be started or hangs.
    pub fn output(&self, line: &[&str]) -> Result<Output> {
        process::output(self.line(line)?, COMMAND_LIMIT)
    }

    /// Starts a command line inside.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn(&self, line: &[&str]) -> Result<Process> {
        Process::spawn(self.line(line)?)
    }

    /// Runs `ip` inside.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        process::run_program("ip", &[&["-netns", self.name()], arguments].concat())
    }

    /// Runs `inside` on a thread in this namespace: sockets it opens stay there.
    ///
    /// # Errors
    ///
    /// Those of `inside`, or when the namespace cannot be entered. A panic goes on in the caller.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = self.path();
        let joined = thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let namespace =
                    File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
                setns(namespace, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter {}", path.display()))?;
                inside()
            });
            thread.join()
        });
        joined.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    fn line(&self, line: &[&str]) -> Result<Command> {
        let (program, arguments) = line.split_first().context("an empty command line")?;
        let mut command = self.command(program);
        command.args(arguments);
        Ok(command)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Err(error) = delete(&self.name) {
            eprintln!("cannot delete the namespace {}: {error:#}", self.name);
        }
    }
}

/// Kills what runs in the namespace, which is all ours, and deletes it.
pub(crate) fn delete(name: &str) -> Result<()> {
    let pids = process::run_program("ip", &["netns", "pids", name])?;
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        let pid = Pid::from_raw(pid);
        if pid != Pid::this() {
            // It may have ended by itself meanwhile.
            kill(pid, Signal::SIGKILL).ok();
        }
    }
    process::run_program("ip", &["netns", "delete", name]).map(drop)
}
