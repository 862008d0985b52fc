//! A guarded host, and whoever follows its events.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard_common::{maps::tables::Role, reason::Reason, wire::ntp};
use ntpguard_tests::{
    guard::Guard,
    lab::Lab,
    packets::{
        frame,
        ntp::{Message, monlist_request},
        raw::RawSocket,
    },
    process::Process,
    wait::eventually,
};
use serde_json::Value;

pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) const STRANGERS: [&str; 2] = ["203.0.113.9", "2001:db8:bad::9"];
pub(super) const CLIENTS: [&str; 2] = ["192.0.2.2", "2001:db8:1::2"];

/// A port that is nobody's.
pub(super) const OTHER_PORT: u16 = 40_123;

/// The network.
pub(super) struct Scene {
    pub(super) lab: Lab,
    wire: RawSocket,
}

impl Scene {
    pub(super) fn new() -> Result<Self> {
        let lab = Lab::on_a_cable()?;
        Ok(Self {
            wire: RawSocket::open(&lab.outside.port)?,
            lab,
        })
    }

    /// A guard that knows the clients.
    pub(super) fn guard(&self, more: &[&str]) -> Result<Guard> {
        let source = self.lab.write("ntp.conf", "")?;
        let guard = self.lab.guard().source(&source).args(more).ready()?;
        for client in CLIENTS {
            let line = ["allowlist", "add", client, "--role", Role::Client.name()];
            let added = guard.cli(&line)?;
            ensure!(added.status.success(), "{line:?}: {added:?}");
        }
        Ok(guard)
    }

    pub(super) fn send(&self, frame: &[u8]) -> Result<()> {
        self.wire.send(frame)
    }

    /// A packet to the host's port 123.
    pub(super) fn packet(&self, from: &str, port: u16, payload: &[u8]) -> Result<Vec<u8>> {
        let from = SocketAddr::new(from.parse()?, port);
        let to = SocketAddr::new(self.lab.inside_of(from.ip()), ntp::PORT);
        frame::udp(from, to, payload)
    }

    /// Puts a packet into a frame to the host.
    pub(super) fn wrap(&self, packet: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
        self.lab.wrap(packet, tags)
    }

    pub(super) fn frame(&self, from: &str, port: u16, payload: &[u8]) -> Result<Vec<u8>> {
        Ok(self.wrap(&self.packet(from, port, payload)?, &[]))
    }

    /// Frames of one sender, each dropped or admitted for another reason.
    pub(super) fn of_many_reasons(&self) -> Result<Vec<(Vec<u8>, Reason)>> {
        let [stranger, _] = STRANGERS;
        let message = |version, mode| Message::new(version, mode).to_vec();
        let mut short = message(4, 3);
        short.truncate(47);
        let packets = [
            (stranger, message(4, 3), Reason::Unlisted),
            (CLIENTS[0], message(4, 3), Reason::Client),
            (CLIENTS[0], message(4, 2), Reason::Role),
            (stranger, monlist_request(), Reason::Private),
            (stranger, message(0, 3), Reason::Version),
            (stranger, message(4, 4), Reason::Mode),
            (stranger, short, Reason::Length),
        ];
        packets
            .into_iter()
            .map(|(from, payload, reason)| Ok((self.frame(from, OTHER_PORT, &payload)?, reason)))
            .collect()
    }
}

/// A running `ntpguard events --json`.
pub(super) struct Viewer {
    pub(super) process: Process,
}

impl Viewer {
    /// Begins, and waits until it misses nothing any more.
    pub(super) fn of(guard: &Guard, more: &[&str]) -> Result<Self> {
        let arguments = [&["--verbose", "events", "--json"], more].concat();
        let mut process = guard.spawn(&arguments)?;
        eventually(SOON, "a viewer", || {
            process.ensure_running()?;
            ensure!(
                process.stderr().contains("following"),
                "{}",
                process.story()
            );
            Ok(())
        })?;
        Ok(Self { process })
    }

    /// Everything it has printed, in whole lines.
    pub(super) fn lines(&self) -> Result<Vec<Value>> {
        let printed = self.process.stdout();
        let whole = printed.rfind('\n').map_or("", |end| &printed[..end]);
        let parsed = whole
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}")));
        parsed.collect()
    }

    /// Sends the frame until it is told, since not every packet is, and gives what is told of it.
    pub(super) fn sees(
        &self,
        scene: &Scene,
        frame: &[u8],
        is_it: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        eventually(SOON, "an event", || {
            scene.send(frame)?;
            let lines = self.lines()?;
            let found = lines.iter().find(|event| is_it(event)).cloned();
            found.with_context(|| format!("told: {lines:?}"))
        })
    }

    /// Packets by reason, those told and those they stand for.
    pub(super) fn packets(&self) -> Result<BTreeMap<String, u64>> {
        packets(&self.lines()?)
    }

    /// Waits until what it has seen of a reason accounts for all that the kernel has counted; sends
    /// the frame, which is of that reason, for whatever was not told yet.
    pub(super) fn accounts_for(
        &self,
        scene: &Scene,
        frame: &[u8],
        reason: Reason,
        counted: impl Fn() -> Result<u64>,
    ) -> Result<u64> {
        const WITHIN: Duration = Duration::from_millis(500);
        eventually(SOON, "the last event", || {
            scene.send(frame)?;
            eventually(WITHIN, "its being told", || {
                let (counted, told) = (counted()?, self.packets()?);
                let told = told.get(reason.name()).copied().unwrap_or(0);
                ensure!(
                    counted == told,
                    "{counted} were counted for {reason}, {told} told"
                );
                Ok(counted)
            })
        })
    }
}

/// Packets by reason, those told in these lines and those they stand for.
pub(super) fn packets(lines: &[Value]) -> Result<BTreeMap<String, u64>> {
    let mut packets = BTreeMap::new();
    for event in lines.iter().filter(|line| line["reason"].is_string()) {
        let reason = event["reason"].as_str().unwrap_or_default().to_owned();
        let more = event["more"].as_u64().context("no number of packets")?;
        *packets.entry(reason).or_default() += 1 + more;
    }
    Ok(packets)
}
