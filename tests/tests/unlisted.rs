//! Whoever is not listed gets no packet through to port 123, and each packet is counted.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    config::ConfigFile,
    guard::{Counts, Guard},
    packets::{
        frame::{self, Ethernet},
        ntp::{self, Message},
        raw::RawSocket,
        sink::Sink,
    },
    switch::{Host, Switch},
};

const SOON: Duration = Duration::from_secs(5);

/// Frames that each sender sends.
const EACH: u64 = 50;

/// Addresses that no host has: their packets are forged.
const STRANGERS: [&str; 4] = ["203.0.113.9", "10.0.0.1", "2001:db8:bad::9", "fe80::9"];

/// Forged too, and named in the guard's file.
const LISTED: [&str; 2] = ["198.51.100.1", "2001:db8:600d::1"];

/// A victim that counts what reaches its port 123, and an attacker on the same switch.
struct Scene {
    _switch: Switch,
    victim: Host,
    attacker: Host,
    wire: RawSocket,
    sink: Sink,
}

impl Scene {
    fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let (victim, attacker) = (switch.host("victim", 1)?, switch.host("attacker", 2)?);
        Ok(Self {
            _switch: switch,
            wire: RawSocket::open(&attacker.port)?,
            sink: Sink::ntp(&victim.namespace)?,
            victim,
            attacker,
        })
    }

    fn guard(&self, mode: &str) -> Result<(ConfigFile, Guard)> {
        let lines: Vec<String> = LISTED
            .iter()
            .map(|host| format!("server {host}\n"))
            .collect();
        let config = ConfigFile::ntp(&lines.concat())?;
        let guard = Guard::builder(&self.victim.namespace)
            .untracked()
            .interface(&self.victim.port.interface)
            .source(config.path())
            .mode(mode)
            .ready()?;
        Ok((config, guard))
    }

    /// Everybody who is not listed: the attacker itself, and who it pretends to be.
    fn strangers(&self) -> Result<Vec<IpAddr>> {
        let mut strangers = self.attacker.addresses().to_vec();
        strangers.extend(addresses(&STRANGERS)?);
        Ok(strangers)
    }

    /// The victim's address of the same family.
    fn toward(&self, source: IpAddr) -> IpAddr {
        if source.is_ipv4() {
            self.victim.v4.into()
        } else {
            self.victim.v6.into()
        }
    }

    fn wrap(&self, packet: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
        let link = Ethernet {
            from: self.attacker.port.mac,
            to: self.victim.port.mac,
            tags,
        };
        link.wrap(packet)
    }

    fn send(&self, packet: &Packet, source: IpAddr) -> Result<()> {
        let from = SocketAddr::new(source, packet.from);
        let to = SocketAddr::new(self.toward(source), packet.to);
        let datagram = frame::udp(from, to, &packet.payload)?;
        self.wire.send(&self.wrap(&datagram, &[]))
    }

    /// Sends a listed server's reply and waits until it, and so all before it, has arrived.
    fn send_last(&self, expected: u64) -> Result<()> {
        for listed in addresses(&LISTED)? {
            self.send(&Packet::reply(), listed)?;
        }
        self.sink.wait_for(expected, SOON)
    }
}

/// A datagram to be sent from somewhere.
struct Packet {
    from: u16,
    to: u16,
    payload: Vec<u8>,
}

impl Packet {
    fn new(from: u16, to: u16, payload: Vec<u8>) -> Self {
        Self { from, to, payload }
    }

    fn reply() -> Self {
        Self::new(123, 123, Message::new(4, 4).to_vec())
    }
}

fn addresses(texts: &[&str]) -> Result<Vec<IpAddr>> {
    texts.iter().map(|text| Ok(text.parse()?)).collect()
}

/// All reasons that were counted.
fn counted(side: &std::collections::BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let some = side.iter().filter(|(_, count)| **count > 0);
    some.map(|(name, count)| (name.as_str(), *count)).collect()
}

fn ensure_status_agrees(guard: &Guard) -> Result<Counts> {
    let (kernel, status) = (guard.counters()?, guard.reported()?);
    ensure!(kernel == status, "bpftool: {kernel:?}, status: {status:?}");
    Ok(kernel)
}

#[test]
fn strangers_get_no_reply_through_and_listed_servers_lose_none() -> Result<()> {
    let scene = Scene::new()?;
    let (strangers, listed) = (scene.strangers()?, addresses(&LISTED)?);
    let (unwanted, wanted) = (EACH * strangers.len() as u64, EACH * listed.len() as u64);
    let send_all = || {
        for _ in 0..EACH {
            // The listed come last, so that once they are here all are.
            for source in strangers.iter().chain(&listed) {
                scene.send(&Packet::reply(), *source)?;
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    send_all()?;
    scene.sink.wait_for(unwanted + wanted, SOON)?;

    let (_config, guard) = scene.guard("enforce")?;
    send_all()?;
    scene.sink.wait_for(unwanted + 2 * wanted, SOON)?;
    for source in &strangers {
        let count = scene.sink.count_from(*source);
        ensure!(
            count == EACH,
            "{count} arrived from {source}, {EACH} before the guard"
        );
    }
    for source in &listed {
        let count = scene.sink.count_from(*source);
        ensure!(count == 2 * EACH, "{count} arrived from {source}");
    }
    let counts = ensure_status_agrees(&guard)?;
    ensure!(
        counted(&counts.enforced) == [("server", wanted), ("unlisted", unwanted)]
            && counted(&counts.monitored).is_empty(),
        "{counts:?}"
    );
    Ok(())
}

#[test]
fn monitor_mode_passes_all_and_counts_what_it_would_drop_apart() -> Result<()> {
    let scene = Scene::new()?;
    let (_config, guard) = scene.guard("monitor")?;
    let strangers = scene.strangers()?;
    for _ in 0..EACH {
        for source in &strangers {
            scene.send(&Packet::reply(), *source)?;
        }
    }
    let unwanted = EACH * strangers.len() as u64;
    scene.send_last(unwanted + LISTED.len() as u64)?;
    for source in &strangers {
        let count = scene.sink.count_from(*source);
        ensure!(count == EACH, "{count} arrived from {source}");
    }
    let counts = ensure_status_agrees(&guard)?;
    ensure!(
        counted(&counts.monitored) == [("server", LISTED.len() as u64), ("unlisted", unwanted)]
            && counted(&counts.enforced).is_empty(),
        "{counts:?}"
    );
    Ok(())
}

/// What each kind of packet is counted for, from a stranger and from a listed server.
fn kinds() -> Vec<(&'static str, Packet, Reason, Reason)> {
    use Reason::{Length, Mode, Private, Role, Unlisted, Version};
    let message = |version, mode| Message::new(version, mode).to_vec();
    let short = message(4, 4).into_iter().take(47).collect();
    let to_123 = |payload| Packet::new(40000, 123, payload);
    let both_123 = |payload| Packet::new(123, 123, payload);
    vec![
        ("a request", to_123(message(4, 3)), Unlisted, Role),
        (
            "a request from port 123",
            both_123(message(4, 3)),
            Unlisted,
            Role,
        ),
        (
            "a request of version 1",
            to_123(message(1, 0)),
            Unlisted,
            Role,
        ),
        ("symmetric active", both_123(message(4, 1)), Unlisted, Role),
        ("symmetric passive", both_123(message(4, 2)), Unlisted, Role),
        (
            "a control request",
            to_123(ntp::control_request()),
            Unlisted,
            Role,
        ),
        (
            "a control response",
            both_123(ntp::control_response(b"leap=0")),
            Unlisted,
            Role,
        ),
        ("monlist", to_123(ntp::monlist_request()), Private, Private),
        (
            "a broadcast to one host",
            both_123(message(4, 5)),
            Mode,
            Mode,
        ),
        (
            "a reply from another port",
            to_123(message(4, 4)),
            Mode,
            Mode,
        ),
        ("mode 0", both_123(message(4, 0)), Mode, Mode),
        ("version 0", both_123(message(0, 4)), Version, Version),
        ("version 7", both_123(message(7, 4)), Version, Version),
        ("a reply cut short", both_123(short), Length, Length),
        ("nothing", both_123(Vec::new()), Length, Length),
    ]
}

#[test]
fn nothing_but_a_listed_servers_reply_gets_through_in_any_mode() -> Result<()> {
    let scene = Scene::new()?;
    let strangers = scene.strangers()?;
    // Without a guard all of it arrives.
    for (_, packet, ..) in kinds() {
        for source in strangers.iter().chain(&addresses(&LISTED)?) {
            scene.send(&packet, *source)?;
        }
    }
    let before = (kinds().len() * (strangers.len() + LISTED.len())) as u64;
    scene.sink.wait_for(before, SOON)?;

    let (_config, guard) = scene.guard("enforce")?;
    let mut last = guard.counters()?;
    let mut arrived = before;
    for (what, packet, from_stranger, from_listed) in kinds() {
        for (source, reason) in strangers
            .iter()
            .map(|source| (*source, from_stranger))
            .chain(
                addresses(&LISTED)?
                    .into_iter()
                    .map(|source| (source, from_listed)),
            )
        {
            scene.send(&packet, source)?;
            arrived += LISTED.len() as u64;
            scene.send_last(arrived)?;
            let counts = guard.counters()?;
            let grown = counts.enforced(reason) - last.enforced(reason);
            ensure!(
                grown == 1,
                "{what} from {source} is not {reason:?}: {counts:?}"
            );
            last = counts;
        }
        ensure!(scene.sink.count() == arrived, "{what} got through");
    }
    ensure_status_agrees(&guard).map(drop)
}

#[test]
fn no_tag_and_no_fragment_gets_a_stranger_through() -> Result<()> {
    const PRIORITY: u16 = 0;
    let scene = Scene::new()?;
    let payload = Message::new(4, 4).to_vec();
    let mut frames = Vec::new();
    let tags: [&[(u16, u16)]; 3] = [
        &[(0x8100, PRIORITY)],
        &[(0x88a8, PRIORITY)],
        &[(0x8100, PRIORITY), (0x8100, PRIORITY)],
    ];
    let strangers = scene.strangers()?;
    for source in &strangers {
        let from = SocketAddr::new(*source, 123);
        let to = SocketAddr::new(scene.toward(*source), 123);
        for tags in tags {
            frames.push(scene.wrap(&frame::udp(from, to, &payload)?, tags));
        }
    }
    let tagged = frames.len() as u64;
    let mut pieces = Vec::new();
    for source in strangers.iter().chain(&addresses(&LISTED)?) {
        let from = SocketAddr::new(*source, 123);
        let to = SocketAddr::new(scene.toward(*source), 123);
        for piece in frame::udp_fragments(from, to, &payload, 24)? {
            pieces.push(scene.wrap(&piece, &[]));
        }
    }
    let fragmented = (strangers.len() + LISTED.len()) as u64;
    let send_all = || {
        frames
            .iter()
            .chain(&pieces)
            .try_for_each(|frame| scene.wire.send(frame))
    };
    // Linux takes priority tags off, and puts fragments together.
    send_all()?;
    let before = tagged + fragmented;
    scene.sink.wait_for(before, SOON)?;

    let (_config, guard) = scene.guard("enforce")?;
    send_all()?;
    scene.send_last(before + LISTED.len() as u64)?;
    ensure!(
        scene.sink.count() == before + LISTED.len() as u64,
        "{:?}",
        scene.sink.by_source()
    );
    let counts = ensure_status_agrees(&guard)?;
    // Later fragments are not counted: alone they come to nothing.
    let expected = [
        ("fragment", fragmented),
        ("server", LISTED.len() as u64),
        ("unlisted", tagged),
    ];
    ensure!(counted(&counts.enforced) == expected, "{counts:?}");
    Ok(())
}
