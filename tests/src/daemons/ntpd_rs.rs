//! ntpd-rs, as a client.

use std::{
    io::Read,
    net::{IpAddr, SocketAddr},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ntpguard_common::wire::ntp;
use serde_json::Value;

use super::{START_LIMIT, Setup, binary, clock};
use crate::{namespace::Namespace, process::Process, wait::eventually};

/// The socket on which it tells of itself.
const OBSERVE: &str = "observe";

/// How long it may take to tell of itself.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A running ntp-daemon of ntpd-rs.
#[derive(Debug)]
pub struct NtpdRs {
    process: Process,
    setup: Setup,
}

impl NtpdRs {
    /// A file with these servers, asked four times a second.
    pub fn servers(servers: &[IpAddr]) -> String {
        let sources = servers
            .iter()
            .map(|server| format!("[[source]]\nmode = \"server\"\naddress = \"{server}\"\n"));
        let settings = "[source-defaults]\n\
                        poll-interval-limits = { min = -2, max = -2 }\n\
                        initial-poll-interval = -2\n\
                        [synchronization]\n\
                        minimum-agreeing-sources = 1\n";
        sources.collect::<String>() + settings
    }

    /// Sets up `config`, which must say nothing of observability, and that it tells of itself.
    ///
    /// # Errors
    ///
    /// When the files cannot be written.
    pub fn setup(config: &str, nameserver: Option<IpAddr>) -> Result<Setup> {
        let setup = Setup::new("", nameserver)?;
        let observe = setup.path(OBSERVE);
        let observability = format!(
            "[observability]\nobservation-path = \"{}\"\n",
            observe.display()
        );
        setup.write("ntp.conf", &(observability + config))?;
        Ok(setup)
    }

    /// Starts it with `config` in its file, and waits until it tells of itself.
    ///
    /// # Errors
    ///
    /// When it is missing or does not start; with what it printed.
    pub fn start(namespace: &Namespace, config: &str, nameserver: Option<IpAddr>) -> Result<Self> {
        Self::start_in(namespace, Self::setup(config, nameserver)?)
    }

    /// As [`Self::start`], with what [`Self::setup`] made.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`].
    pub fn start_in(namespace: &Namespace, setup: Setup) -> Result<Self> {
        let daemon = binary("ntpd-rs/bin/ntp-daemon")?;
        let mut command = setup.confine(namespace, &daemon);
        command.arg("-c").arg(setup.config());
        let process = clock::spawn_without(command)?;
        let mut started = Self { process, setup };
        eventually(START_LIMIT, "ntpd-rs's account of itself", || {
            started.observe().map(drop)
        })
        .map_err(|error| started.process.explain(error))?;
        Ok(started)
    }

    /// The file with its sources.
    pub fn config(&self) -> PathBuf {
        self.setup.config()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.story()
    }

    /// What it tells of itself: a length of eight bytes, then JSON.
    ///
    /// # Errors
    ///
    /// When it tells nothing.
    pub fn observe(&self) -> Result<Value> {
        let path = self.setup.path(OBSERVE);
        let mut stream = UnixStream::connect(&path)
            .with_context(|| format!("cannot connect to {}", path.display()))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let mut len = [0; 8];
        stream.read_exact(&mut len)?;
        let mut json = Vec::new();
        stream
            .take(u64::from_be_bytes(len))
            .read_to_end(&mut json)?;
        Ok(serde_json::from_slice(&json)?)
    }

    /// Waits until each of `servers` has answered its last request.
    ///
    /// # Errors
    ///
    /// When that takes longer than `limit`.
    pub fn wait_answered(&mut self, servers: &[IpAddr], limit: Duration) -> Result<()> {
        eventually(limit, "an answer to ntpd-rs from each server", || {
            let observed = self.observe()?;
            let sources = observed["sources"].as_array().context("no sources")?;
            let answers = |server: &IpAddr| {
                let address = SocketAddr::new(*server, ntp::PORT).to_string();
                let source = sources.iter().find(|source| source["address"] == address);
                source.is_some_and(|source| source["unanswered_polls"] == 0)
            };
            ensure!(servers.iter().all(answers), "{sources:?}");
            Ok(())
        })
        .map_err(|error| self.process.explain(error))
    }
}
