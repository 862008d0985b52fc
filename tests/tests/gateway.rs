//! A gateway guards its outer interface for the clients behind it, whose requests it forwards.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::{reason::Reason, wire::ntp};
use ntpguard_tests::{
    config::ConfigFile,
    daemons::chrony::Chronyd,
    gateway::Gateway,
    guard::Guard,
    packets::{self, ntp::Message, sink::Sink},
    switch::{Host, Switch},
    wait::eventually,
};

const SYNCHRONISED: Duration = Duration::from_secs(20);

/// Two clients behind a gateway, a server and a stranger before it.
struct Scene {
    _switch: Switch,
    server: Host,
    stranger: Host,
    gateway: Gateway,
    clients: [Host; 2],
    chronyd: Chronyd,
    nothing: ConfigFile,
}

impl Scene {
    fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let (server, stranger) = (switch.host("server", 1)?, switch.host("stranger", 2)?);
        let gateway = Gateway::new(&switch)?;
        let clients = [gateway.client("first", 1)?, gateway.client("second", 2)?];
        Ok(Self {
            chronyd: Chronyd::serve(&server.namespace)?,
            nothing: ConfigFile::chrony("")?,
            _switch: switch,
            server,
            stranger,
            gateway,
            clients,
        })
    }

    fn guard(&self, learn: &str) -> Result<Guard> {
        Guard::builder(&self.gateway.outer.namespace)
            .interface(&self.gateway.outer.port.interface)
            .source(self.nothing.path())
            .args(["--learn", learn])
            .ready()
    }

    /// Both clients ask from port 123, so that the gateway has to give one of them another.
    fn start(&self) -> Result<[Chronyd; 2]> {
        let config = format!(
            "server {} iburst minpoll 0 maxpoll 0\nserver {} iburst minpoll 0 maxpoll 0\n\
             acquisitionport {}\n",
            self.server.v4,
            self.server.v6,
            ntp::PORT
        );
        let [first, second] = &self.clients;
        Ok([
            Chronyd::start(&first.namespace, &config, None)?,
            Chronyd::start(&second.namespace, &config, None)?,
        ])
    }
}

#[test]
fn clients_behind_a_gateway_are_served_and_what_nobody_asked_for_is_not_forwarded() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard("any")?;
    let mut clients = scene.start()?;
    for client in &mut clients {
        client.wait_synchronised(SYNCHRONISED)?;
        eventually(SYNCHRONISED, "replies over both families", || {
            let sources = client.sources()?;
            ensure!(
                sources.iter().all(|source| source.reach != 0),
                "{sources:?}"
            );
            Ok(())
        })?;
    }
    // The stranger, and whoever forges the server, from and to the very ports that are in use.
    let before = guard.counters()?;
    let to = (scene.gateway.outer.v4, ntp::PORT).into();
    let reply = Message::new(4, 4).to_vec();
    let from = (scene.stranger.v4, ntp::PORT).into();
    packets::send(&scene.stranger.namespace, from, to, &reply)?;
    let forger = scene.stranger.namespace.clone();
    let forged = format!("{}/32", scene.server.v4);
    forger.ip(&["address", "add", &forged, "dev", "lo"])?;
    packets::send(&forger, (scene.server.v4, ntp::PORT).into(), to, &reply)?;
    eventually(SYNCHRONISED, "two drops", || {
        let counts = guard.counters()?;
        let more = |reason| counts.enforced(reason) - before.enforced(reason);
        let unasked = more(Reason::Unlisted) + more(Reason::Unsolicited);
        ensure!(unasked == 1 && more(Reason::Origin) == 1, "{counts:?}");
        Ok(())
    })?;
    for (client, host) in clients.iter().zip(&scene.clients) {
        let exchanges = client.exchanges(scene.server.v4.into())?;
        ensure!(
            exchanges.received + 1 >= exchanges.sent && exchanges.valid == exchanges.received,
            "{}: {exchanges:?}",
            host.namespace.name()
        );
    }
    drop(clients);
    eventually(SYNCHRONISED, "as many replies admitted as sent", || {
        let (sent, counts) = (scene.chronyd.answered()?, guard.counters()?);
        ensure!(
            counts.enforced(Reason::Server) == sent,
            "{sent}: {counts:?}"
        );
        Ok(())
    })
}

#[test]
fn a_guard_that_does_not_learn_from_all_cuts_off_those_behind_it() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard("trusted")?;
    let clients = scene.start()?;
    eventually(SYNCHRONISED, "drops of replies to both clients", || {
        let counts = guard.counters()?;
        ensure!(counts.enforced(Reason::Unlisted) >= 8, "{counts:?}");
        Ok(())
    })?;
    for client in &clients {
        let sources = client.sources()?;
        ensure!(
            sources.iter().all(|source| source.reach == 0),
            "{sources:?}"
        );
    }
    // It says at the start what it will cut, and in its status what it has cut.
    let said = guard.stderr();
    for family in ["IPv4", "IPv6"] {
        let line = format!("this host forwards {family}");
        ensure!(said.matches(&line).count() == 1, "{said}");
    }
    let status = guard.json(&["status", "--json"])?;
    let rows = status["ungranted"].as_array().context("no list")?;
    ensure!(
        !rows.is_empty() && rows.iter().all(|row| row["forwarded"] == true),
        "{status}"
    );
    let text = guard.cli(&["status"])?.stdout;
    let text = String::from_utf8_lossy(&text);
    ensure!(text.contains("(forwarded)"), "{text}");
    Ok(())
}

/// Without the guard the stranger's reply would have reached the gateway.
#[test]
fn an_unasked_reply_reaches_an_unguarded_gateway() -> Result<()> {
    let scene = Scene::new()?;
    let sink = Sink::ntp(&scene.gateway.outer.namespace)?;
    let (from, to) = (scene.stranger.v4, scene.gateway.outer.v4);
    let reply = Message::new(4, 4).to_vec();
    let (from, to) = ((from, ntp::PORT).into(), (to, ntp::PORT).into());
    packets::send(&scene.stranger.namespace, from, to, &reply)?;
    sink.wait_for(1, SYNCHRONISED)
}
