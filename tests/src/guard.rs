//! The product itself, running in a namespace.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use ntpguard_common::{maps::tables::names::COUNTERS, reason::Reason};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    bpffs::PinDir,
    bpftool,
    bus::Bus,
    namespace::Namespace,
    process::{self, COMMAND_LIMIT, Process},
};

/// How long a guard has to guard and to try every name, in seconds.
const READY_SECONDS: u32 = 10;

/// How long a guard has to end after SIGTERM.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Where a guard keeps its pins and its state. Guards that follow each other share one.
#[derive(Debug)]
pub struct Home {
    pins: PinDir,
    state: TempDir,
}

impl Home {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// Without bpffs.
    pub fn new() -> Result<Arc<Self>> {
        let state = tempfile::tempdir().context("no place for a guard's state")?;
        Ok(Arc::new(Self {
            pins: PinDir::new()?,
            state,
        }))
    }

    /// The pin directory. The guard makes it.
    pub fn pin_dir(&self) -> PathBuf {
        self.pins.path().join("guard")
    }

    /// The state directory. The guard makes it.
    pub fn state_dir(&self) -> PathBuf {
        self.state.path().join("state")
    }
}

/// A `ntpguard run` to be started.
#[derive(Debug)]
pub struct Builder {
    namespace: Namespace,
    home: Option<Arc<Home>>,
    arguments: Vec<OsString>,
    environment: Option<(&'static str, String)>,
    wrapper: Vec<OsString>,
}

impl Builder {
    /// Guards this interface; again for more of them.
    #[must_use]
    pub fn interface(self, interface: &str) -> Self {
        self.args(["--interface", interface])
    }

    /// Reads this configuration file; again for more of them.
    #[must_use]
    pub fn source(self, path: &Path) -> Self {
        self.args([OsStr::new("--source"), path.as_os_str()])
    }

    /// Takes this for its own configuration.
    #[must_use]
    pub fn config(self, path: &Path) -> Self {
        self.args([OsStr::new("--config"), path.as_os_str()])
    }

    /// Asks this DNS server; again for more of them.
    #[must_use]
    pub fn resolver(self, address: IpAddr) -> Self {
        self.args(["--resolver", &address.to_string()])
    }

    /// `enforce` or `monitor`.
    #[must_use]
    pub fn mode(self, mode: &str) -> Self {
        self.args(["--mode", mode])
    }

    /// Takes a reply's address for proof enough, so that packets can be made that it admits.
    #[must_use]
    pub fn untracked(self) -> Self {
        self.args(["--track", "off"])
    }

    /// Speaks with `bus` in the place of the system's.
    #[must_use]
    pub fn bus(mut self, bus: &Bus) -> Self {
        self.environment = Some(bus.variable());
        self
    }

    /// Has this command line start the guard, which must become its process.
    #[must_use]
    pub fn under(mut self, wrapper: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Any other arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().to_owned()),
        );
        self
    }

    /// Uses the pins and the state of an earlier guard.
    #[must_use]
    pub fn home(mut self, home: &Arc<Home>) -> Self {
        self.home = Some(Arc::clone(home));
        self
    }

    /// Starts the guard, and does not wait until it guards.
    ///
    /// # Errors
    ///
    /// When its program is missing.
    pub fn start(self) -> Result<Guard> {
        let home = match self.home {
            Some(home) => home,
            None => Home::new()?,
        };
        let mut command = guard_command(&self.namespace, &home)?;
        if let Some((program, arguments)) = self.wrapper.split_first() {
            command = wrapped(&self.namespace, &home, program, arguments)?;
        }
        command
            .arg("run")
            .args(&self.arguments)
            .envs(self.environment);
        let process = Process::spawn(command)?;
        Ok(Guard {
            process,
            namespace: self.namespace,
            home,
        })
    }

    /// Starts the guard and waits until it guards.
    ///
    /// # Errors
    ///
    /// As for [`Builder::start`] and [`Guard::wait_ready`].
    pub fn ready(self) -> Result<Guard> {
        self.ready_within(READY_SECONDS)
    }

    /// As [`Builder::ready`], for machines that take longer.
    ///
    /// # Errors
    ///
    /// As for [`Builder::start`] and [`Guard::wait_ready`].
    pub fn ready_within(self, seconds: u32) -> Result<Guard> {
        let mut guard = self.start()?;
        guard.wait_ready_within(seconds)?;
        Ok(guard)
    }
}

/// A running `ntpguard run`. Dropped, it is killed; the pins go with the last [`Home`].
#[derive(Debug)]
pub struct Guard {
    // First, so that the process has ended before its pins and its namespace go.
    process: Process,
    namespace: Namespace,
    home: Arc<Home>,
}

impl Guard {
    /// A guard in `namespace`, with pins and state of its own unless told otherwise.
    pub fn builder(namespace: &Namespace) -> Builder {
        Builder {
            namespace: namespace.clone(),
            home: None,
            arguments: Vec::new(),
            environment: None,
            wrapper: Vec::new(),
        }
    }

    /// Its pins and its state, for a successor.
    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Waits until it guards and has tried every name, and gives what `status` says then.
    ///
    /// # Errors
    ///
    /// When that takes too long or the guard ends; with what it printed.
    pub fn wait_ready(&mut self) -> Result<Value> {
        self.wait_ready_within(READY_SECONDS)
    }

    fn wait_ready_within(&mut self, seconds: u32) -> Result<Value> {
        let mut command = guard_command(&self.namespace, &self.home)?;
        command.args(["status", "--wait", &seconds.to_string(), "--json"]);
        let mut status = Process::spawn(command)?;
        let limit = Duration::from_secs(u64::from(seconds) + 5);
        crate::wait::eventually(limit, "the end of `status --wait`", || {
            let ended = status.ended()?;
            Ok(if self.process.ended()?.is_some() {
                None
            } else {
                Some(ended.context("waits")?)
            })
        })?
        .with_context(|| format!("the guard ended: {}", self.process.story()))
        .and_then(|ended| {
            ensure!(
                ended.success(),
                "{}\nthe guard: {}",
                status.story(),
                self.process.story()
            );
            Ok(serde_json::from_str(&status.stdout())?)
        })
    }

    /// Runs another command of the product, for this guard.
    ///
    /// # Errors
    ///
    /// When it cannot be started or hangs; a failure is in the output.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        cli(&self.namespace, &self.home, arguments)
    }

    /// Starts another command of the product, for this guard, and lets it run.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Process> {
        let mut command = guard_command(&self.namespace, &self.home)?;
        command.args(arguments);
        Process::spawn(command)
    }

    /// As [`Guard::cli`], for commands that print JSON.
    ///
    /// # Errors
    ///
    /// When it fails, with what it printed.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        json(&self.namespace, &self.home, arguments)
    }

    /// What the kernel has counted.
    ///
    /// # Errors
    ///
    /// When nothing is loaded.
    pub fn counters(&self) -> Result<Counts> {
        Counts::in_kernel(&self.home)
    }

    /// What `ntpguard status` says was counted.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn reported(&self) -> Result<Counts> {
        let status = self.json(&["status", "--json"])?;
        let side = |name: &str| -> Result<BTreeMap<String, u64>> {
            let side = status
                .get(name)
                .with_context(|| format!("status without {name}"))?;
            Ok(serde_json::from_value(side.clone())?)
        };
        Ok(Counts {
            enforced: side("enforced")?,
            monitored: side("monitored")?,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it wrote on standard error so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.ensure_running()?;
        self.process.signal(signal)
    }

    /// Kills it as a crash would, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub fn kill9(&mut self) -> Result<()> {
        self.process.ensure_running()?;
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait(END_LIMIT).map(drop)
    }

    /// Asks it to end, as a service manager would, and tells how it did.
    ///
    /// # Errors
    ///
    /// When it has ended already, or does not end in time.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.ensure_running()?;
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(END_LIMIT)
    }

    /// As [`Guard::terminate`], as Ctrl-C does.
    ///
    /// # Errors
    ///
    /// As for [`Guard::terminate`].
    pub fn interrupt(&mut self) -> Result<ExitStatus> {
        self.process.ensure_running()?;
        self.process.signal(Signal::SIGINT)?;
        self.process.wait(END_LIMIT)
    }

    /// Bytes of memory that it has for itself now, and the most that it ever had.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn resident(&self) -> Result<(u64, u64)> {
        Ok((self.memory("VmRSS:")?, self.memory("VmHWM:")?))
    }

    /// Bytes of these that are no file's: the program's own pages, of which a build for debugging has
    /// many, are left out.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn anonymous(&self) -> Result<u64> {
        self.memory("RssAnon:")
    }

    fn memory(&self, key: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.id());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = text.lines().find(|line| line.starts_with(key));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        let kib: u64 = kib
            .with_context(|| format!("no {key} in {path}"))?
            .parse()?;
        Ok(kib * 1024)
    }

    /// Has [`Self::resident`] give the most memory from now on: a start needs more than what follows.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.id());
        fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
    }

    /// Whether its program was built for release, as the directory that it is in tells.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn is_built_for_release(&self) -> Result<bool> {
        let program = fs::read_link(format!("/proc/{}/exe", self.id()))?;
        Ok(program
            .components()
            .any(|part| part.as_os_str() == "release"))
    }

    /// Waits until it ends by itself, as when it refuses its command line.
    ///
    /// # Errors
    ///
    /// When it goes on.
    pub fn wait_end(&mut self) -> Result<ExitStatus> {
        self.process.wait(END_LIMIT)
    }
}

/// Runs a command of the product where no guard need be running.
///
/// # Errors
///
/// When it cannot be started or hangs; a failure is in the output.
pub fn cli(namespace: &Namespace, home: &Home, arguments: &[&str]) -> Result<Output> {
    let mut command = guard_command(namespace, home)?;
    command.args(arguments);
    process::output(command, COMMAND_LIMIT)
}

/// As [`cli`], for commands that print JSON.
///
/// # Errors
///
/// When it fails, with what it printed.
pub fn json(namespace: &Namespace, home: &Home, arguments: &[&str]) -> Result<Value> {
    let output = cli(namespace, home, arguments)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "ntpguard {arguments:?}: {}: {errors}",
        output.status
    );
    serde_json::from_slice(&output.stdout).with_context(|| {
        let printed = String::from_utf8_lossy(&output.stdout);
        format!("ntpguard {arguments:?} printed no JSON: {printed}")
    })
}

/// Packets counted by reason; the names are those of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that were admitted or dropped.
    pub enforced: BTreeMap<String, u64>,
    /// Packets that monitor mode let pass, by the reason enforcing would have had.
    pub monitored: BTreeMap<String, u64>,
}

impl Counts {
    /// What the kernel has counted, all CPUs together, as bpftool prints it.
    ///
    /// # Errors
    ///
    /// When nothing is loaded, or the map's fields have no names.
    pub fn in_kernel(home: &Home) -> Result<Self> {
        let map = home.pin_dir().join("maps").join(COUNTERS);
        let mut counts = Self::default();
        for entry in bpftool::map_dump(&map)? {
            let side = match entry.key.as_u64() {
                Some(0) => &mut counts.enforced,
                Some(1) => &mut counts.monitored,
                _ => bail!("{} has the key {}", map.display(), entry.key),
            };
            for reason in Reason::ALL {
                let mut sum = 0;
                for cpu in &entry.values {
                    let field = reason.name().replace('-', "_");
                    let count = cpu.value.get(&field).and_then(Value::as_u64);
                    sum += count.with_context(|| format!("no counter {field} in {}", cpu.value))?;
                }
                side.insert(reason.name().to_owned(), sum);
            }
        }
        Ok(counts)
    }

    /// Packets that were admitted or dropped for `reason`.
    pub fn enforced(&self, reason: Reason) -> u64 {
        self.enforced.get(reason.name()).copied().unwrap_or(0)
    }

    /// Packets that monitor mode let pass and enforcing would have counted for `reason`.
    pub fn monitored(&self, reason: Reason) -> u64 {
        self.monitored.get(reason.name()).copied().unwrap_or(0)
    }
}

fn guard_command(namespace: &Namespace, home: &Home) -> Result<Command> {
    Ok(at_home(namespace.command(program()?), home))
}

/// The same, started by another program.
fn wrapped(
    namespace: &Namespace,
    home: &Home,
    wrapper: &OsStr,
    arguments: &[OsString],
) -> Result<Command> {
    let mut command = namespace.command(wrapper);
    command.args(arguments).arg(program()?);
    Ok(at_home(command, home))
}

fn at_home(mut command: Command, home: &Home) -> Command {
    command
        .env("NTPGUARD_PIN_DIR", home.pin_dir())
        .env("NTPGUARD_STATE_DIR", home.state_dir());
    command
}

/// The product's program: `NTPGUARD_BIN`, or what the build of these tests left beside them.
///
/// # Errors
///
/// When it is missing.
pub fn program() -> Result<PathBuf> {
    let program = env::var_os("NTPGUARD_BIN").map_or_else(built, |path| Ok(path.into()))?;
    ensure!(
        program.is_file(),
        "{} is missing: build it with `cargo build`, or name another with NTPGUARD_BIN",
        program.display()
    );
    Ok(program)
}

/// `target/debug/ntpguard` of the test `target/debug/deps/suite-0123`.
fn built() -> Result<PathBuf> {
    let test = env::current_exe().context("cannot tell where this test is")?;
    let directory = test.parent().and_then(Path::parent);
    Ok(directory
        .context("this test is in no target directory")?
        .join("ntpguard"))
}
