//! Time daemons synchronise through a guard that is told nothing but their own configuration file.

use std::{net::IpAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    config::ConfigFile,
    daemons::chrony::Chronyd,
    dns::{Behaviour, DnsServer},
    guard::{Builder, Counts, Guard},
    switch::{Host, Switch},
    wait::eventually,
};

mod client;

use client::{Client, Dialect};

/// How long a daemon has to reach its servers.
const SYNCHRONISED: Duration = Duration::from_secs(20);

/// How long a guard has to learn a pool whose every answer is another part of it.
const LEARNED: Duration = Duration::from_secs(10);

/// Servers of the pool in each family.
const POOL_SIZE: u8 = 8;

/// The name of the pool.
const POOL: &str = "pool.test";

/// A server that serves the time and names, and a client, on one switch.
struct Network {
    switch: Switch,
    server: Host,
    client: Host,
    dns: DnsServer,
    _chronyd: Chronyd,
}

impl Network {
    fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
        let dns = DnsServer::start(&server.namespace, server.v4.into())?;
        dns.set_fixed("v4.test", &[server.v4.into()]);
        dns.set_fixed("v6.test", &[server.v6.into()]);
        let chronyd = Chronyd::serve(&server.namespace)?;
        Ok(Self {
            switch,
            server,
            client,
            dns,
            _chronyd: chronyd,
        })
    }

    /// Gives the server more addresses, and names them all as a pool that rotates.
    fn add_pool(&self) -> Result<Vec<IpAddr>> {
        let mut pool = Vec::new();
        for host in 100..100 + POOL_SIZE {
            let (v4, v6) = (self.switch.v4(host), self.switch.v6(host));
            self.server.port.add_address(&format!("{v4}/24"))?;
            self.server.port.add_address(&format!("{v6}/64"))?;
            pool.extend([IpAddr::from(v4), IpAddr::from(v6)]);
        }
        let behaviour = Behaviour::Rotate {
            pool: pool.clone(),
            per_answer: 3,
            ttl: 60,
        };
        self.dns.set(POOL, behaviour);
        Ok(pool)
    }

    /// The server's addresses as the daemon's file would name them.
    fn literal(&self) -> [String; 2] {
        self.server.addresses().map(|address| address.to_string())
    }

    fn guard(&self, source: &Path) -> Builder {
        Guard::builder(&self.client.namespace)
            .interface(&self.client.port.interface)
            .resolver(self.dns.address())
            .source(source)
    }

    fn start(&self, dialect: Dialect, config: &ConfigFile) -> Result<Client> {
        dialect.start(&self.client.namespace, config.path(), self.dns.address())
    }
}

fn named() -> [String; 2] {
    ["v4.test", "v6.test"].map(str::to_owned)
}

/// What was dropped.
fn dropped(counts: &Counts) -> u64 {
    let reasons = Reason::ALL.iter().filter(|reason| !reason.admits());
    reasons.map(|reason| counts.enforced(*reason)).sum()
}

fn ensure_only_replies_were_seen(guard: &Guard) -> Result<()> {
    let counts = guard.counters()?;
    ensure!(
        counts.enforced(Reason::Server) > 0 && dropped(&counts) == 0,
        "{counts:?}"
    );
    Ok(())
}

/// The guard is there before the daemon, as after a boot.
fn synchronises_behind_a_guard(
    dialect: Dialect,
    servers: fn(&Network) -> [String; 2],
) -> Result<()> {
    let network = Network::new()?;
    let config = dialect.config(&servers(&network))?;
    let guard = network.guard(config.path()).ready()?;
    let mut daemon = network.start(dialect, &config)?;
    daemon.wait_reached(&network.server.addresses(), SYNCHRONISED)?;
    daemon.wait_synchronised(SYNCHRONISED)?;
    ensure_only_replies_were_seen(&guard)
}

/// The guard comes to a daemon that has been running, and takes nothing from it.
fn stays_synchronised_when_a_guard_comes(
    dialect: Dialect,
    servers: fn(&Network) -> [String; 2],
) -> Result<()> {
    let network = Network::new()?;
    let config = dialect.config(&servers(&network))?;
    let mut daemon = network.start(dialect, &config)?;
    daemon.wait_reached(&network.server.addresses(), SYNCHRONISED)?;
    let guard = network.guard(config.path()).ready()?;
    eventually(SYNCHRONISED, "replies through the guard", || {
        let admitted = guard.counters()?.enforced(Reason::Server);
        ensure!(admitted >= 4, "{admitted} were admitted");
        Ok(())
    })?;
    daemon.wait_last_poll_answered(&network.server.addresses(), SYNCHRONISED)?;
    daemon.wait_synchronised(SYNCHRONISED)?;
    ensure_only_replies_were_seen(&guard)
}

/// Every answer of DNS has other servers in it, so the daemon's and the guard's differ. The pool is
/// small enough for the guard to learn all of it: the test asks for updates until it has, where a
/// guard left alone asks once a minute.
fn synchronises_from_a_rotating_pool(dialect: Dialect) -> Result<()> {
    let network = Network::new()?;
    let pool = network.add_pool()?;
    let config = dialect.pool_config(POOL)?;
    let guard = network.guard(config.path()).ready()?;
    let first = granted(&guard)?;
    ensure!(first < pool.len(), "one answer had the whole pool");
    eventually(LEARNED, "the whole pool", || {
        guard.json(&["allowlist", "update", "--json"])?;
        let known = granted(&guard)?;
        ensure!(known == pool.len(), "{known} of {} are known", pool.len());
        Ok(())
    })?;
    let mut daemon = network.start(dialect, &config)?;
    daemon.wait_synchronised(SYNCHRONISED)?;
    let reached = daemon.reached()?;
    ensure!(
        !reached.is_empty() && reached.iter().all(|address| pool.contains(address)),
        "{reached:?} of {pool:?}"
    );
    ensure_only_replies_were_seen(&guard)
}

fn granted(guard: &Guard) -> Result<usize> {
    let status = guard.json(&["status", "--json"])?;
    let addresses = status["grants"]["addresses"].as_u64();
    Ok(usize::try_from(
        addresses.context("no count of addresses")?,
    )?)
}

/// The same network, daemon and guard, and a file for the guard that says nothing.
fn does_not_synchronise_until_granted(dialect: Dialect) -> Result<()> {
    let network = Network::new()?;
    let nothing = dialect.config(&[])?;
    let guard = network.guard(nothing.path()).ready()?;
    let config = dialect.config(&network.literal())?;
    let daemon = network.start(dialect, &config)?;
    eventually(SYNCHRONISED, "replies that are dropped", || {
        let counts = guard.counters()?;
        // From both addresses, twice.
        ensure!(counts.enforced(Reason::Unlisted) >= 4, "{counts:?}");
        ensure!(counts.enforced(Reason::Server) == 0, "{counts:?}");
        Ok(())
    })?;
    let reached = daemon.reached()?;
    ensure!(reached.is_empty(), "{reached:?} were reached");
    for address in network.literal() {
        guard.json(&["allowlist", "add", &address, "--json"])?;
    }
    daemon.wait_reached(&network.server.addresses(), SYNCHRONISED)
}

#[test]
fn chronyd_synchronises_from_the_addresses_in_its_file() -> Result<()> {
    synchronises_behind_a_guard(Dialect::Chrony, Network::literal)
}

#[test]
fn chronyd_synchronises_from_the_names_in_its_file() -> Result<()> {
    synchronises_behind_a_guard(Dialect::Chrony, |_| named())
}

#[test]
fn chronyd_stays_synchronised_when_a_guard_comes() -> Result<()> {
    stays_synchronised_when_a_guard_comes(Dialect::Chrony, Network::literal)
}

#[test]
fn chronyd_with_names_stays_synchronised_when_a_guard_comes() -> Result<()> {
    stays_synchronised_when_a_guard_comes(Dialect::Chrony, |_| named())
}

#[test]
fn chronyd_synchronises_from_a_pool_whose_answers_rotate() -> Result<()> {
    synchronises_from_a_rotating_pool(Dialect::Chrony)
}

#[test]
fn chronyd_does_not_synchronise_until_its_servers_are_granted() -> Result<()> {
    does_not_synchronise_until_granted(Dialect::Chrony)
}

#[test]
fn ntpsec_synchronises_from_the_addresses_in_its_file() -> Result<()> {
    synchronises_behind_a_guard(Dialect::Ntpsec, Network::literal)
}

#[test]
fn ntpsec_synchronises_from_the_names_in_its_file() -> Result<()> {
    synchronises_behind_a_guard(Dialect::Ntpsec, |_| named())
}

#[test]
fn ntpsec_stays_synchronised_when_a_guard_comes() -> Result<()> {
    stays_synchronised_when_a_guard_comes(Dialect::Ntpsec, Network::literal)
}

#[test]
fn ntpsec_with_names_stays_synchronised_when_a_guard_comes() -> Result<()> {
    stays_synchronised_when_a_guard_comes(Dialect::Ntpsec, |_| named())
}

#[test]
fn ntpsec_synchronises_from_a_pool_whose_answers_rotate() -> Result<()> {
    synchronises_from_a_rotating_pool(Dialect::Ntpsec)
}

#[test]
fn ntpsec_does_not_synchronise_until_its_servers_are_granted() -> Result<()> {
    does_not_synchronise_until_granted(Dialect::Ntpsec)
}
