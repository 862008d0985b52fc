//! A pool whose every DNS answer names four other servers, and a client on the same switch.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    config::ConfigFile,
    daemons::chrony::Chronyd,
    dns::{Behaviour, DnsServer},
    guard::{Builder, Guard},
    switch::{Host, Switch},
};

pub(crate) const NAME: &str = "pool.test";

/// How long a daemon has to find its servers, and a guard to find a daemon.
pub(crate) const SYNCHRONISED: Duration = Duration::from_secs(30);

/// Servers in the pool: many more than a daemon and a guard ask for.
const SIZE: u8 = 120;

/// The last part of the first one's address.
const FIRST: u8 = 100;

/// A pool of servers, which are one host, and a client.
pub(crate) struct Pool {
    _switch: Switch,
    pub(crate) server: Host,
    pub(crate) client: Host,
    pub(crate) dns: DnsServer,
    chronyd: Chronyd,
}

impl Pool {
    pub(crate) fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
        let mut pool = Vec::new();
        for number in FIRST..FIRST + SIZE {
            let address = switch.v4(number);
            server.port.add_address(&format!("{address}/24"))?;
            pool.push(IpAddr::from(address));
        }
        let dns = DnsServer::start(&server.namespace, server.v4.into())?;
        let rotating = Behaviour::Rotate {
            pool,
            per_answer: 4,
            ttl: 150,
        };
        dns.set(NAME, rotating);
        Ok(Self {
            chronyd: Chronyd::serve(&server.namespace)?,
            _switch: switch,
            server,
            client,
            dns,
        })
    }

    /// A guard that reads `config` and asks the same DNS server as the daemon.
    pub(crate) fn guard(&self, config: &ConfigFile) -> Builder {
        Guard::builder(&self.client.namespace)
            .interface(&self.client.port.interface)
            .resolver(self.dns.address())
            .source(config.path())
    }

    /// How many requests the pool has answered.
    pub(crate) fn answered(&self) -> Result<u64> {
        self.chronyd.answered()
    }
}

/// What `allowlist list` shows with this origin.
pub(crate) fn listed(guard: &Guard, origin: &str) -> Result<Vec<IpAddr>> {
    let listing = guard.json(&["allowlist", "list", "--json"])?;
    let rows = listing["rows"].as_array().context("no rows")?;
    let mut addresses = Vec::new();
    for row in rows {
        let origins = row["origins"].as_array().context("no origins")?;
        if origins.iter().any(|listed| listed == origin) {
            let prefix = row["prefix"].as_str().context("no prefix")?;
            let address = prefix.split('/').next().unwrap_or_default();
            addresses.push(address.parse()?);
        }
    }
    Ok(addresses)
}

/// Fails unless replies were admitted and nothing was dropped.
pub(crate) fn ensure_no_drops(guard: &Guard) -> Result<()> {
    let counts = guard.counters()?;
    let dropped = Reason::ALL
        .iter()
        .any(|reason| !reason.admits() && counts.enforced(*reason) > 0);
    ensure!(
        !dropped && counts.enforced(Reason::Server) > 0,
        "{counts:?}"
    );
    Ok(())
}
