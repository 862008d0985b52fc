//! Either time daemon, as a client of what its file names.

use std::{net::IpAddr, path::Path, time::Duration};

use anyhow::{Result, ensure};
use ntpguard_tests::{
    config::ConfigFile,
    daemons::{chrony::Chronyd, ntpsec::Ntpd},
    namespace::Namespace,
    wait::eventually,
};

/// What Debian's file for NTPsec says: everybody would be served, and nobody may ask questions.
const DEBIAN_RESTRICT: &str = "restrict default kod nomodify nopeer noquery limited\n\
                               restrict 127.0.0.1\n\
                               restrict ::1\n";

/// Which daemon, and so how its file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dialect {
    Chrony,
    /// Its requests leave from port 123, so its replies go from 123 to 123.
    Ntpsec,
}

/// A running daemon.
#[derive(Debug)]
pub(crate) enum Client {
    Chrony(Chronyd),
    Ntpsec(Ntpd),
}

impl Dialect {
    /// A file with these servers.
    pub(crate) fn config(self, servers: &[String]) -> Result<ConfigFile> {
        let lines: Vec<String> = servers
            .iter()
            .map(|server| format!("server {server} {}\n", self.polls()))
            .collect();
        self.file(&lines.concat())
    }

    /// A file with this pool.
    pub(crate) fn pool_config(self, pool: &str) -> Result<ConfigFile> {
        self.file(&format!("pool {pool} {}\n", self.polls()))
    }

    /// Starts the daemon with the very file that the guard reads.
    pub(crate) fn start(
        self,
        namespace: &Namespace,
        config: &Path,
        nameserver: IpAddr,
    ) -> Result<Client> {
        let (config, nameserver) = (config.display(), Some(nameserver));
        Ok(match self {
            Self::Chrony => {
                let include = format!("include {config}\n");
                Client::Chrony(Chronyd::start(namespace, &include, nameserver)?)
            }
            Self::Ntpsec => {
                let include = format!("includefile {config}\n");
                Client::Ntpsec(Ntpd::start(namespace, &include, nameserver)?)
            }
        })
    }

    fn file(self, sources: &str) -> Result<ConfigFile> {
        match self {
            Self::Chrony => ConfigFile::chrony(sources),
            Self::Ntpsec => ConfigFile::ntp(&format!("{DEBIAN_RESTRICT}{sources}")),
        }
    }

    const fn polls(self) -> &'static str {
        match self {
            Self::Chrony => "iburst minpoll 0 maxpoll 0",
            Self::Ntpsec => "iburst minpoll 0 maxpoll 3",
        }
    }
}

impl Client {
    /// Waits until the daemon says that it is synchronised: `chronyc tracking`, `ntpq -p`.
    pub(crate) fn wait_synchronised(&mut self, limit: Duration) -> Result<()> {
        match self {
            Self::Chrony(chronyd) => chronyd.wait_synchronised(limit).map(drop),
            Self::Ntpsec(ntpd) => ntpd.wait_synchronised(limit).map(drop),
        }
    }

    /// Waits until each of these servers has answered.
    pub(crate) fn wait_reached(&self, servers: &[IpAddr], limit: Duration) -> Result<()> {
        self.wait_reach(servers, limit, |reach| reach != 0)
    }

    /// Waits until each of these servers has answered the daemon's last poll of it.
    pub(crate) fn wait_last_poll_answered(
        &self,
        servers: &[IpAddr],
        limit: Duration,
    ) -> Result<()> {
        self.wait_reach(servers, limit, |reach| reach & 1 == 1)
    }

    /// The servers that have answered.
    pub(crate) fn reached(&self) -> Result<Vec<IpAddr>> {
        let mut reached = Vec::new();
        for (address, reach) in self.reaches()? {
            if reach != 0 {
                reached.push(address.parse()?);
            }
        }
        Ok(reached)
    }

    fn wait_reach(
        &self,
        servers: &[IpAddr],
        limit: Duration,
        enough: impl Fn(u8) -> bool,
    ) -> Result<()> {
        eventually(limit, "replies from every server", || {
            let reaches = self.reaches()?;
            let good = |server: &IpAddr| {
                reaches
                    .iter()
                    .any(|(address, reach)| *address == server.to_string() && enough(*reach))
            };
            ensure!(servers.iter().all(good), "{reaches:?}, {servers:?}");
            Ok(())
        })
    }

    /// Each source with its reach, a bit a poll. What is no address yet is a name.
    fn reaches(&self) -> Result<Vec<(String, u8)>> {
        Ok(match self {
            Self::Chrony(chronyd) => chronyd
                .sources()?
                .into_iter()
                .map(|source| (source.address, source.reach))
                .collect(),
            Self::Ntpsec(ntpd) => ntpd
                .peers()?
                .into_iter()
                .map(|peer| (peer.address, peer.reach))
                .collect(),
        })
    }
}
