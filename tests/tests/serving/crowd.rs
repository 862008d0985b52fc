//! Fifty clients of several networks, and two servers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    daemons::{Setup, chrony::Chronyd, ntpsec::Ntpd},
    guard::Guard,
    switch::{Host, Switch},
    wait::eventually,
};

/// How long the slowest of fifty clients may take.
const SYNCHRONISED: Duration = Duration::from_secs(40);

/// What a client outside must have asked before its silence counts.
const ASKED: u64 = 4;

const NTPSEC: &str = "\
tos orphan 5 orphanwait 1
restrict default ignore
restrict 198.51.100.0 mask 255.255.255.0 nomodify noquery
restrict 198.51.100.128 mask 255.255.255.128 ignore
restrict 2001:db8:1::/48 nomodify noquery
";

const CHRONY: &str = "\
local stratum 8
allow 198.51.100.0/24
deny 198.51.100.128/25
allow 2001:db8:1::/48
";

/// A client and whether it is to be served.
struct Client {
    address: IpAddr,
    is_inside: bool,
    chronyd: Chronyd,
}

/// The addresses of both kinds.
fn addresses() -> Vec<(IpAddr, bool)> {
    let v4 = |a, b, c, d: u8| IpAddr::from(Ipv4Addr::new(a, b, c, d));
    let v6 =
        |net, host: u8| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host.into()));
    let inside = (1..=15).map(|host| v4(198, 51, 100, host));
    let inside = inside.chain((1..=10).map(|host| v6(1, host)));
    let in_hole = (129..=138).map(|host| v4(198, 51, 100, host));
    let outside = in_hole
        .chain((1..=10).map(|host| v4(203, 0, 113, host)))
        .chain((1..=5).map(|host| v6(2, host)));
    inside
        .map(|address| (address, true))
        .chain(outside.map(|address| (address, false)))
        .collect()
}

/// Sends what `host` sends to other networks by way of the clients.
fn route(host: &Host, clients: &Host) -> Result<()> {
    let [v4, v6] = clients.addresses().map(|address| address.to_string());
    host.namespace
        .ip(&["route", "add", "default", "via", &v4])?;
    host.namespace
        .ip(&["-6", "route", "add", "default", "via", &v6])
        .map(drop)
}

/// A client that asks both servers from its address.
fn client(clients: &Host, address: IpAddr, servers: [&Host; 2]) -> Result<Chronyd> {
    let length = if address.is_ipv4() { 32 } else { 128 };
    clients.port.add_address(&format!("{address}/{length}"))?;
    let lines = servers.map(|server| {
        let server = of_family(server, address);
        format!("server {server} iburst minpoll 0 maxpoll 0\n")
    });
    let config = format!("bindacqaddress {address}\n{}", lines.concat());
    Chronyd::start(&clients.namespace, &config, None)
}

fn of_family(host: &Host, other: IpAddr) -> IpAddr {
    let [v4, v6] = host.addresses();
    if other.is_ipv4() { v4 } else { v6 }
}

impl Client {
    /// Fails unless it was answered by a server, or has heard nothing for long enough.
    fn ensure_fate(&self, server: IpAddr) -> Result<()> {
        let passed = self.chronyd.exchanges(server)?;
        let fits = if self.is_inside {
            passed.valid > 0
        } else {
            passed.sent >= ASKED && passed.received == 0
        };
        ensure!(fits, "{} and {server}: {passed:?}", self.address);
        Ok(())
    }
}

/// How many requests chronyd got, and how many of those it refused.
fn received_and_refused(server: &Chronyd) -> Result<(u64, u64)> {
    let printed = server.chronyc(&["serverstats"])?;
    let mut counts = printed.trim().split(',').map(str::parse);
    let mut next = || counts.next().context("too few statistics");
    Ok((next()??, next()??))
}

#[test]
fn fifty_clients_are_served_or_met_with_silence_as_the_servers_are_configured() -> Result<()> {
    let switch = Switch::new()?;
    let (by_chrony, by_ntpsec) = (switch.host("chrony", 1)?, switch.host("ntpsec", 2)?);
    let clients = switch.host("clients", 3)?;
    route(&by_chrony, &clients)?;
    route(&by_ntpsec, &clients)?;
    let setups = [Setup::new(CHRONY, None)?, Setup::new(NTPSEC, None)?];
    let mut guards = Vec::new();
    for (host, setup) in [&by_chrony, &by_ntpsec].into_iter().zip(&setups) {
        let guard = Guard::builder(&host.namespace)
            .interface(&host.port.interface)
            .source(&setup.config())
            .ready()?;
        guards.push(guard);
    }
    let [chrony, ntpsec] = setups;
    let chronyd = Chronyd::start_in(&by_chrony.namespace, chrony)?;
    let _ntpd = Ntpd::start_in(&by_ntpsec.namespace, ntpsec)?;

    let servers = [&by_chrony, &by_ntpsec];
    let mut all = Vec::new();
    for (address, is_inside) in addresses() {
        all.push(Client {
            address,
            is_inside,
            chronyd: client(&clients, address, servers)?,
        });
    }
    ensure!(all.len() == 50, "{} clients", all.len());
    eventually(SYNCHRONISED, "every client's fate", || {
        all.iter().try_for_each(|client| {
            servers
                .iter()
                .try_for_each(|server| client.ensure_fate(of_family(server, client.address)))
        })
    })?;

    for (guard, name) in guards.iter().zip(["chronyd", "NTPsec"]) {
        let counts = guard.counters()?;
        let [served, refused, unlisted] =
            [Reason::Client, Reason::Role, Reason::Unlisted].map(|reason| counts.enforced(reason));
        eprintln!("{name}: {served} requests served, {refused} in the hole, {unlisted} outside");
        // 25 clients inside, 10 in the hole, 15 outside.
        ensure!(
            served >= 25 && refused >= 10 * ASKED && unlisted >= 15 * ASKED,
            "{counts:?}"
        );
        ensure!(counts.enforced(Reason::Rate) == 0, "{counts:?}");
    }
    // Nobody whom chronyd would refuse reached it, as the guard had dropped them.
    let (received, refused) = received_and_refused(&chronyd)?;
    ensure!(
        received >= 25 && refused == 0,
        "chronyd got {received} and refused {refused}"
    );
    Ok(())
}
