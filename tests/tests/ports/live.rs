//! Real daemons that ask there, and a guard that is told nothing of them.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    daemons::{chrony::Chronyd, ntpd_rs::NtpdRs},
    guard::Guard,
    switch::{Host, Switch},
    wait::eventually,
};

use super::{PORT, SOON, origins_of, wait_granted};

/// A server of time at the other port, and a guarded client.
struct Network {
    _switch: Switch,
    server: Host,
    client: Host,
    _chronyd: Chronyd,
    guard: Guard,
}

impl Network {
    fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
        let config = format!("local stratum 8\nallow all\nport {PORT}\n");
        let chronyd = Chronyd::start(&server.namespace, &config, None)?;
        let guard = Guard::builder(&client.namespace)
            .interface(&client.port.interface)
            .ready()?;
        Ok(Self {
            _switch: switch,
            server,
            client,
            _chronyd: chronyd,
            guard,
        })
    }

    /// A client that answers questions on loopback.
    fn chronyd(&self, config: &str) -> Result<Chronyd> {
        let config = format!("cmdport 323\n{config}");
        Chronyd::start(&self.client.namespace, &config, None)
    }

    /// Waits until more replies are admitted.
    fn wait_admitted(&self) -> Result<()> {
        let admitted = || -> Result<u64> { Ok(self.guard.counters()?.enforced(Reason::Server)) };
        let before = admitted()?;
        eventually(SOON, "replies through the guard", || {
            let now = admitted()?;
            ensure!(now > before, "{now} replies");
            Ok(())
        })
    }

    /// Replies to requests that the programs before saw, or nobody saw, may be missed; after that,
    /// none.
    fn drops_none(&self, what: &str) -> Result<()> {
        let drops = |guard: &Guard| -> Result<u64> {
            let counts = guard.counters()?;
            let drops = Reason::ALL.iter().filter(|reason| !reason.admits());
            Ok(drops.map(|reason| counts.enforced(*reason)).sum())
        };
        let before = drops(&self.guard)?;
        for _ in 0..3 {
            self.wait_admitted()?;
        }
        let after = drops(&self.guard)?;
        ensure!(after == before, "{what}: {} were dropped", after - before);
        Ok(())
    }
}

fn at_port(address: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(address.into(), PORT)
}

#[test]
fn chronyd_stays_synchronised_and_only_the_port_is_granted() -> Result<()> {
    let network = Network::new()?;
    let [v4, v6] = network.server.addresses();
    let line = |address| format!("server {address} port {PORT} iburst minpoll 0 maxpoll 0\n");
    let mut chronyd = network.chronyd(&(line(v4) + &line(v6)))?;
    for address in [v4, v6] {
        wait_granted(
            &network.guard,
            at_port(address),
            Some(&["config", "daemon"]),
        )?;
        let at_123 = SocketAddr::new(address, 123);
        let origins = origins_of(&network.guard, at_123)?;
        ensure!(origins.is_none(), "{at_123} is granted by {origins:?}");
    }
    chronyd.wait_synchronised(SOON)?;
    network.drops_none("chronyd asks two servers")
}

/// As one does whose requests all leave from port 123.
#[test]
fn chronyd_may_ask_from_port_123() -> Result<()> {
    let network = Network::new()?;
    let server = network.server.v4;
    let config =
        format!("server {server} port {PORT} iburst minpoll 0 maxpoll 0\nacquisitionport 123\n");
    let mut chronyd = network.chronyd(&config)?;
    wait_granted(&network.guard, at_port(server), Some(&["config", "daemon"]))?;
    chronyd.wait_synchronised(SOON)?;
    network.drops_none("chronyd asks from port 123")
}

#[test]
fn ntpd_rs_says_the_port_itself() -> Result<()> {
    let network = Network::new()?;
    let server = at_port(network.server.v4);
    let config = NtpdRs::servers(&[server.ip()])
        .replace(&format!("\"{}\"", server.ip()), &format!("\"{server}\""));
    let ntpd_rs = NtpdRs::start(&network.client.namespace, &config, None)?;
    wait_granted(&network.guard, server, Some(&["config", "daemon"]))?;
    network.wait_admitted()?;
    eventually(SOON, "an answer to ntpd-rs", || {
        let observed = ntpd_rs.observe()?;
        let sources = observed["sources"].as_array().context("no sources")?;
        let answered = sources.iter().any(|source| {
            source["address"] == server.to_string() && source["unanswered_polls"] == 0
        });
        ensure!(answered, "{sources:?}");
        Ok(())
    })
}

/// chronyd does not tell ports, so of a server that no file names the guard knows the address
/// alone: it grants port 123, and what comes from the other port is not judged.
#[test]
fn a_port_that_only_chronyc_named_is_left_open() -> Result<()> {
    let network = Network::new()?;
    let server = network.server.v4;
    let mut chronyd = network.chronyd("")?;
    let port = PORT.to_string();
    let line = format!("add server {server} port {port} iburst minpoll 0 maxpoll 0");
    chronyd.chronyc(&line.split(' ').collect::<Vec<_>>())?;
    wait_granted(&network.guard, (server, 123).into(), Some(&["daemon"]))?;
    chronyd.wait_synchronised(SOON)?;
    let origins = origins_of(&network.guard, at_port(server))?;
    ensure!(origins.is_none(), "{origins:?}");
    let counts = network.guard.counters()?;
    ensure!(counts.enforced(Reason::Server) == 0, "{counts:?}");
    Ok(())
}
