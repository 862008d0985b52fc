//! A server with as many addresses as an exchange needs, and the client that is guarded.

use std::{net::IpAddr, time::Duration};

use anyhow::{Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    cgroup::Cgroup,
    config::ConfigFile,
    daemons::{Setup, chrony::Chronyd},
    dns::DnsServer,
    guard::{Counts, Guard},
    switch::{Host, Switch},
    wait::eventually,
};

/// How many replies each daemon gets at least.
pub(crate) const EXCHANGES: u64 = 200;

/// How long a daemon may take for that many exchanges, the slowest with five seconds between two.
const LIMIT: Duration = Duration::from_secs(60);

/// How long the last packets may be on their way.
const SOON: Duration = Duration::from_secs(5);

/// The last part of the server's first additional address.
const FIRST: u8 = 20;

/// Which requests are noted, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sender {
    /// Anybody's, to servers that are granted.
    Listed,
    /// The time daemon's, to servers that nobody granted.
    Trusted,
}

/// A guarded client and its server.
pub(crate) struct Network {
    _switch: Switch,
    pub(crate) client: Host,
    pub(crate) server: Chronyd,
    pub(crate) dns: DnsServer,
    /// The server's addresses of both families, in turn.
    pub(crate) addresses: Vec<IpAddr>,
    cgroup: Cgroup,
}

impl Network {
    /// A server with `pairs` addresses of each family. `settings` are more lines of its file.
    pub(crate) fn new(pairs: u8, settings: &str) -> Result<Self> {
        let switch = Switch::new()?;
        let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
        let mut addresses = server.addresses().to_vec();
        for number in FIRST..FIRST + pairs - 1 {
            addresses.extend(server.add_addresses(&switch, number)?);
        }
        let config = format!("local stratum 8\nallow all\n{settings}");
        Ok(Self {
            server: Chronyd::start(&server.namespace, &config, None)?,
            dns: DnsServer::start(&server.namespace, server.v4.into())?,
            client,
            addresses,
            cgroup: Cgroup::new()?,
            _switch: switch,
        })
    }

    /// A line for each of the server's addresses.
    pub(crate) fn lines(&self, line: impl Fn(&IpAddr) -> String) -> String {
        self.addresses.iter().map(line).collect()
    }

    /// Starts a daemon behind a guard that is there first, waits for enough exchanges, hands the
    /// daemon to `check`, and ends it. Each reply that the server sent must have been admitted,
    /// and nothing dropped.
    pub(crate) fn loses_no_reply<C>(
        &self,
        sender: Sender,
        setup: Setup,
        start: impl FnOnce(Setup) -> Result<C>,
        check: impl FnOnce(&C) -> Result<()>,
    ) -> Result<()> {
        let (_config, guard) = self.guard(sender)?;
        let setup = match sender {
            Sender::Listed => setup,
            Sender::Trusted => setup.inside(&self.cgroup),
        };
        let daemon = start(setup)?;
        eventually(LIMIT, "enough exchanges", || {
            let counts = guard.counters()?;
            ensure_no_drops(&counts)?;
            let admitted = counts.enforced(Reason::Server);
            ensure!(admitted >= EXCHANGES, "{admitted} admitted: {counts:?}");
            Ok(())
        })?;
        check(&daemon)?;
        drop(daemon);
        self.all_were_admitted(&guard)
    }

    /// As [`Network::loses_no_reply`], for a command line that ends by itself.
    pub(crate) fn guard(&self, sender: Sender) -> Result<(ConfigFile, Guard)> {
        let servers = self.lines(|server| format!("server {server}\n"));
        let config = ConfigFile::ntp(match sender {
            Sender::Listed => &servers,
            Sender::Trusted => "",
        })?;
        let guard = Guard::builder(&self.client.namespace)
            .interface(&self.client.port.interface)
            .source(config.path());
        let guard = match sender {
            Sender::Listed => guard.args(["--learn", "off"]),
            Sender::Trusted => guard.args(["--trust".as_ref(), self.cgroup.path().as_os_str()]),
        };
        Ok((config, guard.ready()?))
    }

    /// Fails unless every reply that the server sent was admitted, and nothing was dropped.
    pub(crate) fn all_were_admitted(&self, guard: &Guard) -> Result<()> {
        eventually(SOON, "as many replies admitted as sent", || {
            let (sent, counts) = (self.server.answered()?, guard.counters()?);
            ensure_no_drops(&counts)?;
            let admitted = counts.enforced(Reason::Server);
            ensure!(admitted == sent, "{sent} were sent: {counts:?}");
            ensure!(admitted >= EXCHANGES, "only {admitted} were admitted");
            Ok(())
        })
    }

    /// The cgroup that a guard of trusted senders trusts.
    pub(crate) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }
}

fn ensure_no_drops(counts: &Counts) -> Result<()> {
    let dropped: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !reason.admits() && counts.enforced(**reason) > 0)
        .collect();
    ensure!(dropped.is_empty(), "dropped for {dropped:?}: {counts:?}");
    Ok(())
}
