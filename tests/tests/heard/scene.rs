//! A guarded host and a server that answers in a manner of its own.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ntpguard_tests::{
    daemons::{
        Setup,
        responder::{Manner, Responder},
    },
    guard::Guard,
    switch::{Host, Switch},
    wait::eventually,
};
use serde_json::Value;

/// How long a daemon may take to ask often enough.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// Two hosts; the server has a second address.
pub(crate) struct Scene {
    _switch: Switch,
    pub(crate) client: Host,
    pub(crate) server: Host,
    /// The server's address that is asked, and another.
    pub(crate) asked: IpAddr,
    pub(crate) other: IpAddr,
    _responder: Responder,
}

impl Scene {
    /// With a server that answers so; `manner` is given its second address.
    pub(crate) fn new(manner: impl FnOnce(IpAddr) -> Manner) -> Result<Self> {
        let switch = Switch::new()?;
        let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
        let [other, _] = server.add_addresses(&switch, 20)?;
        let asked = server.v4.into();
        let responder = Responder::start(&server.namespace, asked, manner(other))?;
        Ok(Self {
            _switch: switch,
            client,
            server,
            asked,
            other,
            _responder: responder,
        })
    }

    /// A guard that reads this daemon's file, with these options.
    pub(crate) fn guard(&self, setup: &Setup, options: &[&str]) -> Result<Guard> {
        Guard::builder(&self.client.namespace)
            .interface(&self.client.port.interface)
            .source(&setup.config())
            .args(options)
            .ready()
    }

    /// What `status` says of the asked server.
    pub(crate) fn status(&self, guard: &Guard) -> Result<Value> {
        server(guard, self.asked)
    }

    /// Waits until `status` shows that replies of the server are refused for `cause`, and none was admitted.
    pub(crate) fn shows(&self, guard: &Guard, cause: &str) -> Result<()> {
        let reason = cause.split(' ').next().unwrap_or_default();
        eventually(SOON, "the refusals in `status`", || {
            let server = self.status(guard)?;
            ensure!(server["replies"] == 0, "{server}");
            let refused = server["refused"].as_array().context("no refusals")?;
            ensure!(
                refused.iter().any(|one| one["reason"] == *reason
                    && one["packets"].as_u64().is_some_and(|packets| packets > 0)),
                "{server}"
            );
            Ok(())
        })?;
        let text = Self::text(guard)?;
        let line = format!("{}: 0 replies, ", self.asked);
        let line = text.lines().find(|shown| shown.starts_with(&line));
        let line = line.with_context(|| format!("no line of the server in {text}"))?;
        ensure!(
            line.contains(&format!(" rejected: {cause}")),
            "{line} in {text}"
        );
        Ok(())
    }

    /// What `status` prints.
    pub(crate) fn text(guard: &Guard) -> Result<String> {
        let output = guard.cli(&["status"])?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until the server's replies are admitted.
    pub(crate) fn is_heard(&self, guard: &Guard) -> Result<()> {
        eventually(SOON, "an admitted reply", || {
            let server = self.status(guard)?;
            ensure!(
                server["replies"]
                    .as_u64()
                    .is_some_and(|replies| replies > 0),
                "{server}"
            );
            Ok(())
        })
    }
}

/// What `status` says of a server; null where it does not name it.
pub(crate) fn server(guard: &Guard, address: IpAddr) -> Result<Value> {
    let status = guard.json(&["status", "--json"])?;
    let servers = status["servers"].as_array().context("no servers")?;
    let address = address.to_string();
    let named = servers.iter().find(|one| one["address"] == *address);
    Ok(named.cloned().unwrap_or_default())
}
