//! A guard that is told of no source finds every time daemon by itself, and follows what it says.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    daemons::chrony::Chronyd,
    dns::DnsServer,
    guard::{Builder, Guard},
    switch::{Host, Switch},
    wait::eventually,
};
use serde_json::Value;

mod channels;
mod parsers;
mod refused;
mod unaided;

/// How long a daemon has to reach its servers, with a guard that looks for daemons every 10 s.
const SYNCHRONISED: Duration = Duration::from_secs(40);

/// How long a guard has to hear of a change: it asks every 10 s.
const HEARD: Duration = Duration::from_secs(20);

/// A server of time and names with two more addresses, and a client, on one switch.
struct Network {
    _switch: Switch,
    server: Host,
    client: Host,
    dns: DnsServer,
    /// Another address of the server, which no file names.
    more: [IpAddr; 2],
    _chronyd: Chronyd,
}

impl Network {
    fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
        let dns = DnsServer::start(&server.namespace, server.v4.into())?;
        dns.set_fixed("time.test", &server.addresses());
        let (v4, v6) = (switch.v4(100), switch.v6(100));
        server.port.add_address(&format!("{v4}/24"))?;
        server.port.add_address(&format!("{v6}/64"))?;
        let chronyd = Chronyd::serve(&server.namespace)?;
        Ok(Self {
            _switch: switch,
            server,
            client,
            dns,
            more: [v4.into(), v6.into()],
            _chronyd: chronyd,
        })
    }

    /// A guard that is told nothing of time daemons.
    fn guard(&self) -> Builder {
        Guard::builder(&self.client.namespace)
            .interface(&self.client.port.interface)
            .resolver(self.dns.address())
    }
}

/// Waits until the guard has a row for `address` whose origins are those, `None` for no row.
fn wait_granted(guard: &Guard, address: IpAddr, origins: Option<&[&str]>) -> Result<()> {
    eventually(HEARD, "the grant", || {
        let listing = guard.json(&["allowlist", "list", "--json"])?;
        let rows = listing["rows"].as_array().context("no rows")?;
        let is_its = |row: &&Value| {
            let prefix = row["prefix"].as_str().unwrap_or_default();
            prefix.split('/').next() == Some(&address.to_string()) && row["role"] == "server"
        };
        let row = rows.iter().find(is_its);
        let found: Option<Vec<&str>> = row.map(|row| {
            let origins = row["origins"].as_array().into_iter().flatten();
            origins.filter_map(Value::as_str).collect()
        });
        ensure!(
            found.as_deref() == origins,
            "{address}: {found:?} in {rows:?}"
        );
        Ok(())
    })
}

/// Waits until the guard has let replies through.
fn wait_admitted(guard: &Guard) -> Result<()> {
    eventually(SYNCHRONISED, "replies through the guard", || {
        let counts = guard.counters()?;
        ensure!(counts.enforced(Reason::Server) > 0, "{counts:?}");
        Ok(())
    })
}

/// The paths of the sources that the guard reads, each with why.
fn sources(guard: &Guard) -> Result<Vec<(String, String)>> {
    let status = guard.json(&["status", "--json"])?;
    let sources = status["sources"].as_array().context("no sources")?;
    let text = |source: &Value, key: &str| source[key].as_str().unwrap_or_default().to_owned();
    Ok(sources
        .iter()
        .map(|source| (text(source, "path"), text(source, "why")))
        .collect())
}
