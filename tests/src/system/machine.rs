//! The machine as the checks find it: a time server at the other end of a cable, the system's
//! chrony.service that asks it by name, and a guard that was given an interface and nothing else.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ntpguard::api::{allowlist::Listing, status::Status};
use serde::de::DeserializeOwned;

use super::chronyd::{self, Unit};
use crate::{
    guard,
    namespace::Namespace,
    process::{self, COMMAND_LIMIT, Process},
    wait::eventually,
};

/// The guarded interface, and its other end.
const INTERFACE: &str = "vb";
const FAR_END: &str = "va";
/// The machine's own address.
pub const OWN: IpAddr = address(2);
/// The server that chrony.service asks.
pub const SERVER: IpAddr = address(1);
/// Another address of the server's, for a check that wants replies from where nothing is granted.
pub const UNNAMED: IpAddr = address(66);
/// An address that is no server's.
pub const STRANGER: IpAddr = address(99);
/// The first server of the services by which [`Machine::wait_look`] knows that the guard has looked.
const FIRST_WITNESS: u8 = 201;

/// chronyd asks for two more packets a second than it needs, so that a test ends early.
const SOURCE: &str = "server time.test iburst minpoll 0 maxpoll 0\n";
const SERVICE: &str = "chrony.service";

/// How long a guard's start may take on an emulated CPU, in seconds.
const READY_SECONDS: u32 = 120;
/// How long the guard may take until it has seen a new daemon: it looks every ten seconds.
const LOOK: Duration = Duration::from_secs(60);

/// An address behind the guarded interface. What one check has granted lasts a while, so each asks its
/// own.
pub const fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, last))
}

/// The machine, prepared.
#[derive(Debug)]
pub struct Machine {
    // In the order in which they end.
    guard: Process,
    _server: Process,
    network: Namespace,
    witnesses: u8,
}

impl Machine {
    /// Prepares the machine this runs on.
    ///
    /// # Errors
    ///
    /// When a part is missing, or does not start.
    pub(super) fn prepare() -> Result<Self> {
        let network = lay_cable()?;
        let server = serve(&network)?;
        configure_service()?;
        let guard = start_guard()?;
        Ok(Self {
            guard,
            _server: server,
            network,
            witnesses: 0,
        })
    }

    /// The network namespace of the server and of strangers.
    pub fn network(&self) -> &Namespace {
        &self.network
    }

    /// The guard's process id.
    pub fn guard_pid(&self) -> u32 {
        self.guard.id()
    }

    /// What the guard logged so far.
    pub fn log(&self) -> String {
        self.guard.story()
    }

    /// What `ntpguard status` says.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn status(&self) -> Result<Status> {
        json(&["status", "--json"])
    }

    /// What `ntpguard allowlist list` says.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn allowlist(&self) -> Result<Listing> {
        json(&["allowlist", "list", "--json"])
    }

    /// Whether anything is granted to an address itself.
    ///
    /// # Errors
    ///
    /// When the guard does not answer.
    pub fn grants(&self, address: IpAddr) -> Result<bool> {
        let listing = self.allowlist()?;
        Ok(listing.rows.iter().any(|row| row.prefix == address.into()))
    }

    /// Whether the processes of a cgroup are trusted senders.
    ///
    /// # Errors
    ///
    /// When the guard does not answer.
    pub fn trusts(&self, cgroup: &str) -> Result<bool> {
        let trusted_senders = self.status()?.traffic.trusted_senders;
        Ok(trusted_senders.iter().any(|sender| sender.cgroup == cgroup))
    }

    /// Waits until the guard believes a service: grants the server that its file names, and trusts
    /// its requests.
    ///
    /// # Errors
    ///
    /// When it does not in time, with the service's log.
    pub fn wait_believed(&self, unit: &Unit, server: IpAddr) -> Result<()> {
        // It looks now, and not at the end of ten seconds. What it says of Debian's pool, which has no
        // address here, is no matter.
        ntpguard_output(&["allowlist", "update"])?;
        eventually(LOOK, "the guard's belief in a service", || {
            ensure!(self.grants(server)?, "{server} is not granted");
            let cgroup = unit.cgroup();
            ensure!(self.trusts(&cgroup)?, "{cgroup} is not trusted");
            Ok(())
        })
        .with_context(|| unit.story())
    }

    /// Waits until the guard has looked at all processes once more since this was called: until it
    /// believes a service that starts only now.
    ///
    /// # Errors
    ///
    /// When it does not in time.
    pub fn wait_look(&mut self) -> Result<()> {
        let witness = self.witnesses;
        self.witnesses += 1;
        let server = address(FIRST_WITNESS + witness);
        let unit = Unit::sandboxed(&format!("witness-{witness}"), server)?;
        self.wait_believed(&unit, server)
    }
}

/// Connects the machine with a network namespace that has every other address.
fn lay_cable() -> Result<Namespace> {
    let network = Namespace::new("server")?;
    let far = ["peer", "name", FAR_END, "netns", network.name()];
    ip(&[&["link", "add", INTERFACE, "type", "veth"], &far[..]].concat())?;
    ip(&["address", "add", &format!("{OWN}/24"), "dev", INTERFACE])?;
    ip(&["link", "set", INTERFACE, "up"])?;
    for address in [SERVER, UNNAMED, STRANGER] {
        network.ip(&["address", "add", &format!("{address}/24"), "dev", FAR_END])?;
    }
    network.ip(&["link", "set", FAR_END, "up"])?;
    Ok(network)
}

fn ip(line: &[&str]) -> Result<()> {
    process::run_program("ip", line).map(drop)
}

/// Where the server tells how many requests it has answered: chronyd does so on its own socket alone.
const SERVER_SOCKET: &str = "/run/chrony/server.sock";

/// Starts the system's chronyd as a server that is sure of its clock.
fn serve(network: &Namespace) -> Result<Process> {
    let mut command = network.command(chronyd::PROGRAM);
    command
        .args(chronyd::OPTIONS)
        .args(["local stratum 8", "allow all", "cmdport 0"])
        .arg("pidfile /run/chrony/server.pid")
        .arg(format!("bindcmdaddress {SERVER_SOCKET}"));
    let mut server = Process::spawn(command)?;
    eventually(Duration::from_secs(30), "the server's start", || {
        answered_by(network).map(drop)
    })
    .map_err(|error| server.explain(error))?;
    Ok(server)
}

/// How many requests the server has answered.
pub(super) fn answered_by(network: &Namespace) -> Result<u64> {
    let line = ["chronyc", "-c", "-h", SERVER_SOCKET, "serverstats"];
    let printed = network.run(&line)?;
    let mut counts = printed.trim().split(',').map(str::parse::<u64>);
    match (counts.next(), counts.next()) {
        (Some(Ok(received)), Some(Ok(dropped))) => Ok(received - dropped),
        _ => anyhow::bail!("not the statistics of a server: {printed}"),
    }
}

/// Has the system's service ask the server, and leave the clock alone. Debian's own file stays as it
/// is, with its pool, which nothing here resolves.
fn configure_service() -> Result<()> {
    for (path, text) in [
        (
            "/etc/hosts",
            format!("127.0.0.1 localhost\n{SERVER} time.test\n"),
        ),
        ("/etc/resolv.conf", "nameserver 127.0.0.1\n".to_owned()),
        (
            "/etc/default/chrony",
            "DAEMON_OPTS=\"-F 1 -x\"\n".to_owned(),
        ),
        ("/etc/chrony/sources.d/vm.sources", SOURCE.to_owned()),
    ] {
        fs::write(path, text).with_context(|| format!("cannot write {path}"))?;
    }
    systemctl("restart")
}

/// Starts, stops or restarts chrony.service.
pub(super) fn systemctl(what: &str) -> Result<()> {
    process::run_program("systemctl", &[what, SERVICE]).map(drop)
}

/// Starts a guard as an administrator would who gives it an interface and nothing else.
fn start_guard() -> Result<Process> {
    let mut command = Command::new(guard::program()?);
    command.args(["run", "-i", INTERFACE]);
    let mut guard = Process::spawn(command)?;
    let mut status = Command::new(guard::program()?);
    status.args(["status", "--wait", &READY_SECONDS.to_string()]);
    let limit = Duration::from_secs(u64::from(READY_SECONDS) + 10);
    let output = process::output(status, limit)?;
    if output.status.success() {
        return Ok(guard);
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    Err(guard.explain(anyhow::anyhow!("the guard is not ready: {printed}")))
}

fn ntpguard_output(line: &[&str]) -> Result<Output> {
    let mut command = Command::new(guard::program()?);
    command.args(line);
    process::output(command, COMMAND_LIMIT)
}

fn json<T: DeserializeOwned>(line: &[&str]) -> Result<T> {
    let output = ntpguard_output(line)?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("{line:?} gave {output:?}"))
}

/// The file of a process in /proc.
pub(super) fn proc(pid: u32, file: &str) -> Result<String> {
    let path = Path::new("/proc").join(pid.to_string()).join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
