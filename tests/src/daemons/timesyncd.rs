//! systemd-timesyncd, as a client.

use std::{env::consts::ARCH, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};

use super::{Setup, WITH_NAMES, binary, clock, directory};
use crate::{bus::Bus, namespace::Namespace, process::Process, wait::eventually};

/// Its configuration as a drop-in, and directories that a package would make. As root it would
/// insist on the right to set the clock.
const PLACES: &str = r#"mount -t tmpfs tmpfs /var/lib && mount -t tmpfs tmpfs /run \
    && chmod 755 /run && mkdir -p -m 755 /run/systemd /run/systemd/timesyncd.conf.d \
    && install -m 644 "$0/ntp.conf" /run/systemd/timesyncd.conf.d/test.conf \
    && exec setpriv --reuid 999 --regid 999 --clear-groups -- "$@""#;

/// Lines of a guard's configuration that have it believe a timesyncd of these tests, whose account is
/// not that of a package.
pub const ACCOUNTS: &str = "accounts = { timesyncd = [\"999\"] }\n";

/// A running systemd-timesyncd. It asks one server at a time, every 16 s at most.
#[derive(Debug)]
pub struct Timesyncd {
    process: Process,
    setup: Setup,
}

impl Timesyncd {
    /// Starts it with `config` as a drop-in: `[Time]`, `NTP=`, `NTP=10.0.0.1`.
    ///
    /// # Errors
    ///
    /// When it is missing.
    pub fn start(namespace: &Namespace, config: &str, nameserver: Option<IpAddr>) -> Result<Self> {
        Self::start_in(namespace, Setup::new(config, nameserver)?)
    }

    /// As [`Self::start`], with what was set up before.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`].
    pub fn start_in(namespace: &Namespace, setup: Setup) -> Result<Self> {
        Self::spawn(namespace, setup, None)
    }

    /// As [`Self::start_in`], with `bus` in the place of the system's.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`].
    pub fn start_on(namespace: &Namespace, setup: Setup, bus: &Bus) -> Result<Self> {
        Self::spawn(namespace, setup, Some(bus))
    }

    fn spawn(namespace: &Namespace, setup: Setup, bus: Option<&Bus>) -> Result<Self> {
        let daemon = binary("systemd-timesyncd/lib/systemd/systemd-timesyncd")?;
        let before = format!("{WITH_NAMES} && {PLACES}");
        let mut command = setup.confine_after(&before, namespace, &daemon);
        let libraries = directory()
            .join("libsystemd-shared/usr/lib")
            .join(format!("{ARCH}-linux-gnu/systemd"));
        command
            .env("LD_LIBRARY_PATH", libraries)
            .env("SYSTEMD_LOG_LEVEL", "debug")
            .envs(bus.map(Bus::variable));
        let process = clock::spawn_without(command)?;
        Ok(Self { process, setup })
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

    /// Waits until it has taken the time from `server`.
    ///
    /// # Errors
    ///
    /// When that takes longer than `limit`; with the log.
    pub fn wait_synchronised(&mut self, server: IpAddr, limit: Duration) -> Result<()> {
        let taken = format!("Contacted time server {server}:123");
        eventually(limit, "the time for timesyncd", || {
            ensure!(self.process.stderr().contains(&taken), "no {taken:?}");
            Ok(())
        })
        .map_err(|error| self.process.explain(error))
    }
}
