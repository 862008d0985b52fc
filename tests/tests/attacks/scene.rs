//! A guarded host with a server, a client and a peer that it knows, and an attacker.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};
use ntpguard_common::{maps::tables::Role, reason::Reason, wire::ntp};
use ntpguard_tests::{
    guard::Guard,
    lab::Lab,
    packets::{frame, raw::RawSocket},
};

const SOON: Duration = Duration::from_secs(10);

/// A port that is nobody's.
pub(super) const OTHER_PORT: u16 = 40_123;

pub(super) const STRANGERS: [&str; 2] = ["203.0.113.9", "2001:db8:bad::9"];
pub(super) const SERVERS: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
pub(super) const CLIENTS: [&str; 2] = ["192.0.2.2", "2001:db8:1::2"];
pub(super) const PEERS: [&str; 2] = ["192.0.2.3", "2001:db8:1::3"];

/// An attack.
pub(super) struct Attack {
    /// What people call it.
    pub(super) name: &'static str,
    /// Where it is told of.
    pub(super) source: &'static str,
    /// What is sent, and what each frame must be counted for; nothing for what passes uncounted.
    pub(super) frames: Vec<(Vec<u8>, Option<Reason>)>,
    /// Datagrams that come of it where there is no guard.
    pub(super) arrives: Arrives,
}

/// How many datagrams reach port 123 without a guard.
#[derive(Clone, Copy)]
pub(super) enum Arrives {
    /// As many as there are frames.
    All,
    /// So many.
    Some(u64),
}

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

    /// A datagram to the host, in a frame.
    pub(super) fn frame(&self, from: &str, ports: (u16, u16), payload: &[u8]) -> Result<Vec<u8>> {
        Ok(self.wrap(&self.packet(from, ports, payload)?))
    }

    /// The same without the frame.
    pub(super) fn packet(&self, from: &str, ports: (u16, u16), payload: &[u8]) -> Result<Vec<u8>> {
        let [from, to] = self.ends(from, ports)?;
        frame::udp(from, to, payload)
    }

    /// Where such a datagram comes from, and goes.
    pub(super) fn ends(&self, from: &str, ports: (u16, u16)) -> Result<[SocketAddr; 2]> {
        let from: IpAddr = from.parse()?;
        let to = self.lab.inside_of(from);
        Ok([SocketAddr::new(from, ports.0), SocketAddr::new(to, ports.1)])
    }

    /// Puts a packet into a frame to the host.
    pub(super) fn wrap(&self, packet: &[u8]) -> Vec<u8> {
        self.wrap_tagged(packet, &[])
    }

    /// The same with VLAN tags, outermost first.
    pub(super) fn wrap_tagged(&self, packet: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
        self.lab.wrap(packet, tags)
    }

    /// A guard that tracks requests, with a server, a client and a peer of each family.
    pub(super) fn guard(&self) -> Result<Guard> {
        self.guard_on("auto")
    }

    /// The same at this hook.
    fn guard_on(&self, hook: &str) -> Result<Guard> {
        let source = self.lab.write("ntp.conf", "")?;
        let guard = Guard::builder(&self.lab.inside.namespace)
            .interface(&self.lab.inside.port.interface)
            .args(["--attach", hook])
            .source(&source)
            .ready()?;
        for (addresses, role) in [
            (SERVERS, Role::Server),
            (CLIENTS, Role::Client),
            (PEERS, Role::Peer),
        ] {
            for address in addresses {
                let line = ["allowlist", "add", address, "--role", role.name()];
                let added = guard.cli(&line)?;
                ensure!(added.status.success(), "{line:?}: {added:?}");
            }
        }
        Ok(guard)
    }

    /// Sends one frame to the host.
    pub(super) fn send_frame(&self, frame: &[u8]) -> Result<()> {
        self.wire.send(frame)
    }

    fn send(&self, attack: &Attack) -> Result<()> {
        attack
            .frames
            .iter()
            .try_for_each(|(frame, _)| self.wire.send(frame))
    }

    /// Makes the attack without a guard and with one, and fails unless it arrives the first time and
    /// not the second, and each packet is counted for what it must be. A client is served after it.
    pub(super) fn withstands(&self, attack: &Attack) -> Result<()> {
        self.withstands_on("auto", attack)
    }

    /// The same on each hook, the one after the other.
    pub(super) fn withstands_everywhere(&self, attack: &Attack) -> Result<()> {
        ["native", "generic", "tc"]
            .iter()
            .try_for_each(|hook| self.withstands_on(hook, attack))
    }

    fn withstands_on(&self, hook: &str, attack: &Attack) -> Result<()> {
        let sent = attack.frames.len() as u64;
        let before = self.lab.sink.count();
        self.send(attack)?;
        let arriving = match attack.arrives {
            Arrives::All => sent,
            Arrives::Some(count) => count,
        };
        ensure!(arriving > 0, "{} is no attack on anybody", attack.name);
        self.lab.sink.wait_for(before + arriving, SOON)?;

        let guard = self.guard_on(hook)?;
        let (arrived, counted) = (self.lab.sink.count(), guard.counters()?);
        self.send(attack)?;
        self.lab.flush()?;
        let through = self.lab.sink.count() - arrived;
        let after = guard.counters()?;
        let grown: BTreeMap<Reason, u64> = Reason::ALL
            .iter()
            .map(|reason| (*reason, after.enforced(*reason) - counted.enforced(*reason)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let told: Vec<String> = grown
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        eprintln!(
            "{} ({}), {hook}: {sent} sent, {arriving} arrive without a guard, {through} through it; {}",
            attack.name,
            attack.source,
            told.join(", ")
        );
        ensure!(
            through == 0,
            "{}: {through} of {sent} got through",
            attack.name
        );
        let mut expected = BTreeMap::new();
        for reason in attack.frames.iter().filter_map(|(_, reason)| *reason) {
            *expected.entry(reason).or_insert(0) += 1;
        }
        ensure!(
            grown == expected,
            "{}: counted {grown:?}, not {expected:?}",
            attack.name
        );
        CLIENTS
            .iter()
            .try_for_each(|client| self.lab.admits(guard.home(), client, Role::Client))
    }
}

/// Each of these, counted for `reason`.
pub(super) fn all_for(frames: Vec<Vec<u8>>, reason: Reason) -> Vec<(Vec<u8>, Option<Reason>)> {
    frames
        .into_iter()
        .map(|frame| (frame, Some(reason)))
        .collect()
}

/// From port 123, where servers are.
pub(super) const FROM_NTP: (u16, u16) = (ntp::PORT, ntp::PORT);

/// From elsewhere, to port 123.
pub(super) const TO_NTP: (u16, u16) = (OTHER_PORT, ntp::PORT);
