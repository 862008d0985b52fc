//! The guard on interfaces of every kind: how it is attached, whether it filters there, what is
//! refused, what bpftool sees of it, and what is left of it afterwards.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    bpftool,
    config::ConfigFile,
    guard::{Builder, Counts, Guard, Home},
    link::Port,
    namespace::Namespace,
    packets::{
        frame::{self, Ethernet},
        ntp::Message,
        raw::RawSocket,
        sink::Sink,
    },
    switch::{Host, Switch},
    tun::Tun,
    wait::eventually,
};
use serde_json::Value;

mod asking;
mod changes;
mod contested;
mod external;
mod identity;
mod inspection;
mod kinds;
mod lasting;
mod leftovers;
mod losses;
mod refusals;
mod several;
mod tc;

const SOON: Duration = Duration::from_secs(5);

/// Packets from each source in a volley.
const EACH: u64 = 20;

/// Not in the guard's file.
const STRANGERS: [&str; 2] = ["203.0.113.9", "2001:db8:bad::9"];

/// In the guard's file.
const LISTED: [&str; 2] = ["198.51.100.1", "2001:db8:600d::1"];

/// A host to be guarded, and one that sends to it.
struct Scene {
    _switch: Switch,
    host: Host,
    other: Host,
    target: Target,
    wire: Wire,
}

fn scene() -> Result<Scene> {
    let switch = Switch::new()?;
    let (host, other) = (switch.host("host", 1)?, switch.host("other", 2)?);
    Ok(Scene {
        target: Target::of(&host)?,
        wire: Wire::new(&other.port, &host.port)?,
        _switch: switch,
        host,
        other,
    })
}

/// The file of every guard here.
fn config() -> Result<ConfigFile> {
    let lines = LISTED.map(|host| format!("server {host}\n"));
    ConfigFile::ntp(&lines.concat())
}

fn guard(namespace: &Namespace, interfaces: &[&str], config: &ConfigFile) -> Builder {
    let builder = Guard::builder(namespace).untracked().source(config.path());
    interfaces
        .iter()
        .fold(builder, |builder, interface| builder.interface(interface))
}

/// Lets IP packets arrive at an interface.
trait Way {
    fn send(&mut self, packet: &[u8]) -> Result<()>;
}

/// Over Ethernet, from a neighbour.
struct Wire {
    socket: RawSocket,
    from: [u8; 6],
    to: [u8; 6],
    /// VLAN tags of each frame: `EtherType` and number, outermost first.
    tags: Vec<(u16, u16)>,
}

impl Wire {
    fn new(from: &Port, to: &Port) -> Result<Self> {
        Ok(Self {
            socket: RawSocket::open(from)?,
            from: from.mac,
            to: to.mac,
            tags: Vec::new(),
        })
    }
}

impl Way for Wire {
    fn send(&mut self, packet: &[u8]) -> Result<()> {
        let link = Ethernet {
            from: self.from,
            to: self.to,
            tags: &self.tags,
        };
        self.socket.send(&link.wrap(packet))
    }
}

impl Way for Tun {
    fn send(&mut self, packet: &[u8]) -> Result<()> {
        Self::send(self, packet)
    }
}

/// A host under fire: where packets go to, and where those end that get through.
struct Target {
    addresses: [IpAddr; 2],
    sink: Sink,
}

impl Target {
    fn new(namespace: &Namespace, addresses: [&str; 2]) -> Result<Self> {
        let [v4, v6] = addresses;
        Ok(Self {
            addresses: [v4.parse()?, v6.parse()?],
            sink: Sink::ntp(namespace)?,
        })
    }

    fn of(host: &Host) -> Result<Self> {
        Ok(Self {
            addresses: host.addresses(),
            sink: Sink::ntp(&host.namespace)?,
        })
    }

    /// Replies from strangers and, after them, from listed servers.
    fn volley(&self, way: &mut dyn Way) -> Result<()> {
        let payload = Message::new(4, 4).to_vec();
        for sources in [STRANGERS, LISTED] {
            for (source, to) in sources.iter().zip(self.addresses) {
                let packet = frame::udp(
                    (source.parse::<IpAddr>()?, 123).into(),
                    (to, 123).into(),
                    &payload,
                )?;
                for _ in 0..EACH {
                    way.send(&packet)?;
                }
            }
        }
        Ok(())
    }

    /// As it must be without a guard.
    fn ensure_all_arrive(&self, way: &mut dyn Way) -> Result<()> {
        let before = self.sink.count();
        self.volley(way)?;
        self.sink.wait_for(before + 4 * EACH, SOON)
    }

    /// As it must be with one, which counts them.
    fn ensure_only_listed_arrive(&self, way: &mut dyn Way, home: &Home) -> Result<()> {
        let (arrived, counted) = (self.sink.by_source(), Counts::in_kernel(home)?);
        let grown = |host: &str| -> Result<u64> {
            let host: IpAddr = host.parse()?;
            Ok(self.sink.count_from(host) - arrived.get(&host).copied().unwrap_or(0))
        };
        self.volley(way)?;
        eventually(SOON, "the listed servers' packets", || {
            for host in LISTED {
                let grown = grown(host)?;
                ensure!(grown == EACH, "{grown} from {host}");
            }
            Ok(())
        })?;
        for host in STRANGERS {
            let grown = grown(host)?;
            ensure!(grown == 0, "{grown} from {host} got through");
        }
        let counts = Counts::in_kernel(home)?;
        for reason in [Reason::Server, Reason::Unlisted] {
            let grown = counts.enforced(reason) - counted.enforced(reason);
            ensure!(grown == 2 * EACH, "{grown} of {reason:?}: {counts:?}");
        }
        Ok(())
    }
}

/// What `status` says of an interface.
fn interface_status(guard: &Guard, interface: &str) -> Result<Value> {
    let status = guard.json(&["status", "--json"])?;
    let rows = status["interfaces"].as_array().context("no interfaces")?;
    let row = rows.iter().find(|row| row["name"] == interface);
    Ok(row
        .with_context(|| format!("no {interface} in {status}"))?
        .clone())
}

/// What `bpftool net` shows on an interface's XDP hook.
fn xdp_on(namespace: &Namespace, interface: &str) -> Result<Option<Value>> {
    let hooks = bpftool::net(namespace)?;
    let rows = hooks.get("xdp").context("bpftool knows no XDP")?;
    Ok(rows.iter().find(|row| row["devname"] == interface).cloned())
}

/// The BPF links that are pinned by a guard.
fn links_of(home: &Home) -> Result<Vec<Value>> {
    let pins = home.pin_dir().display().to_string();
    let mut links = bpftool::link_list()?;
    links.retain(|link| {
        let pinned = link["pinned"].as_array().into_iter().flatten();
        pinned
            .filter_map(Value::as_str)
            .any(|pin| pin.starts_with(&pins))
    });
    Ok(links)
}

/// Status, `bpftool net` and `bpftool link` say the same of an interface.
fn ensure_attached(guard: &Guard, port: &Port, how: &str) -> Result<Value> {
    let status = interface_status(guard, &port.interface)?;
    ensure!(
        status["attached"] == how && status["index"] == port.index,
        "{status}"
    );
    let link = ingress_link(guard.home(), port)?;
    if how == "tc" {
        ensure!(link["type"] != "xdp", "{link}");
        return Ok(status);
    }
    let shown = xdp_on(&port.namespace, &port.interface)?.context("bpftool net shows no XDP")?;
    let mode = if how == "native" { "driver" } else { "generic" };
    ensure!(shown["mode"] == mode, "{shown}");
    ensure!(
        link["type"] == "xdp" && link["prog_id"] == shown["id"],
        "{link}, {shown}"
    );
    Ok(status)
}

/// The link pinned for what arrives at an interface.
fn ingress_link(home: &Home, port: &Port) -> Result<Value> {
    let pin = home.pin_dir().join(format!("links/{}-ingress", port.index));
    let pin = Value::from(pin.display().to_string());
    let links = links_of(home)?;
    // Once for each mount of the file system that the pin is on.
    let is_there = |pins: &Vec<Value>| !pins.is_empty() && pins.iter().all(|other| *other == pin);
    let link = links
        .iter()
        .find(|link| link["pinned"].as_array().is_some_and(is_there));
    Ok(link
        .with_context(|| format!("no link pinned at {pin} alone in {links:?}"))?
        .clone())
}

/// Nothing of a guard is left in the kernel.
fn ensure_gone(home: &Home, port: &Port) -> Result<()> {
    ensure!(
        !home.pin_dir().exists(),
        "{} is still there",
        home.pin_dir().display()
    );
    let links = links_of(home)?;
    ensure!(links.is_empty(), "{links:?}");
    let shown = xdp_on(&port.namespace, &port.interface)?;
    ensure!(shown.is_none(), "{shown:?}");
    Ok(())
}
