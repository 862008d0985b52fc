//! Two hosts that are connected in every way that is to be guarded, and what must come of packets
//! between them.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::utsname::uname;
use ntpguard_common::{reason::Reason, wire::ntp};
use serde_json::Value;

use crate::{
    config::ConfigFile,
    guard::{Builder, Counts, Guard},
    link::{Port, Veth},
    namespace::Namespace,
    packets::{self, ntp::Message},
    wait::eventually,
};

/// How long a guard may take to start on an emulated CPU.
pub(super) const START_SECONDS: u32 = 120;
/// How long a packet may be on its way, or a look of the guard's away.
pub(super) const SOON: Duration = Duration::from_secs(20);
/// Requests in an exchange, and packets of strangers among them.
const EACH: u64 = 10;
/// A port of no service's.
const CLIENT_PORT: u16 = 40_123;
const BOND: &str = "bond0";
const VLAN: &str = "7";

/// A way from one host to the other, with addresses of its own.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// The interface of the host that is guarded.
    pub(super) near: Port,
    far: Port,
    network: u8,
}

/// The hosts.
#[derive(Debug)]
pub(super) struct Scene {
    near: Namespace,
    far: Namespace,
    /// A cable.
    pub(super) cable: Way,
    /// A VLAN on that cable.
    pub(super) vlan: Way,
    /// A bond of two further cables.
    pub(super) bond: Way,
    /// The guarded host's ends of these.
    pub(super) members: [Port; 2],
    config: ConfigFile,
}

impl Way {
    const fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 81, self.network, host)
    }

    fn addressed(near: Port, far: Port, network: u8) -> Result<Self> {
        let way = Self { near, far, network };
        // The last is the stranger's.
        let addresses = [(&way.near, 1), (&way.far, 2), (&way.far, 99)];
        for (port, host) in addresses {
            port.add_address(&format!("{}/24", way.address(host)))?;
        }
        for port in [&way.near, &way.far] {
            port.namespace.ip(&["link", "set", &port.interface, "up"])?;
        }
        Ok(way)
    }
}

impl Scene {
    pub(super) fn new() -> Result<Self> {
        let (near, far) = (Namespace::new("near")?, Namespace::new("far")?);
        let lay = || Veth::between(&near, &[], &far, &[]);
        let [cable, first, second] = [lay()?, lay()?, lay()?];
        let vlan = |below: &Port| add_vlan(below);
        let ends = [[&first.left, &second.left], [&first.right, &second.right]];
        let [near_bond, far_bond] = ends.map(bond);
        let vlan = (vlan(&cable.left)?, vlan(&cable.right)?);
        let cable = Way::addressed(cable.left, cable.right, 0)?;
        let vlan = Way::addressed(vlan.0, vlan.1, 1)?;
        let bond = Way::addressed(near_bond?, far_bond?, 2)?;
        let servers = [&cable, &vlan, &bond].map(|way| format!("server {}\n", way.address(2)));
        Ok(Self {
            config: ConfigFile::ntp(&servers.concat())?,
            members: [first.left, second.left],
            near,
            far,
            cable,
            vlan,
            bond,
        })
    }

    /// A guard of some of the host's interfaces.
    pub(super) fn guard(&self, ports: &[&Port]) -> Builder {
        let builder = Guard::builder(&self.near).source(self.config.path());
        ports
            .iter()
            .fold(builder, |builder, port| builder.interface(&port.interface))
    }

    /// Asks the server that is at the other end of a way, and has strangers answer as well: its replies
    /// are admitted, the others dropped, and the guard counts all.
    pub(super) fn exchange(&self, way: &Way, guard: &Guard) -> Result<()> {
        let before = guard.reported()?;
        let socket = |namespace, host, port| -> Result<UdpSocket> {
            let socket = packets::udp(namespace, SocketAddr::new(way.address(host).into(), port))?;
            socket.set_read_timeout(Some(SOON))?;
            Ok(socket)
        };
        let client = socket(&self.near, 1, CLIENT_PORT)?;
        let server = socket(&self.far, 2, ntp::PORT)?;
        let stranger = socket(&self.far, 99, ntp::PORT)?;
        for number in 1..=EACH {
            // No two exchanges have the same timestamps: a repeated one is a finding of the guard's.
            let request = Message::request((before_all(&before) << 32) + number);
            stranger.send_to(&Message::reply_to(&request).to_vec(), client.local_addr()?)?;
            ask(&client, &server, &request)?;
        }
        let grown = |reason| -> Result<u64> {
            Ok(guard.reported()?.enforced(reason) - before.enforced(reason))
        };
        let grown = [grown(Reason::Server)?, grown(Reason::Unlisted)?];
        ensure!(grown == [EACH, EACH], "admitted and dropped: {grown:?}");
        Ok(())
    }

    /// How many packets have arrived at an interface of the guarded host.
    pub(super) fn arrived(&self, port: &Port) -> Result<u64> {
        let line = [
            "-json",
            "-statistics",
            "link",
            "show",
            "dev",
            &port.interface,
        ];
        let shown: Value = serde_json::from_str(&self.near.ip(&line)?)?;
        let packets = &shown[0]["stats64"]["rx"]["packets"];
        packets
            .as_u64()
            .with_context(|| format!("no count in {shown}"))
    }

    /// No filter is on the tc hooks of the guarded host.
    pub(super) fn ensure_no_filters(&self) -> Result<()> {
        let qdiscs = self.near.run(&["tc", "qdisc", "show"])?;
        ensure!(!qdiscs.contains("clsact"), "{qdiscs}");
        Ok(())
    }

    /// Runs `ip` on the guarded host.
    pub(super) fn ip(&self, line: &[&str]) -> Result<()> {
        self.near.ip(line).map(drop)
    }

    /// Runs `tc` on the guarded host.
    pub(super) fn tc(&self, line: &[&str]) -> Result<()> {
        self.near.run(&[&["tc"], line].concat()).map(drop)
    }
}

/// A number that grows with each exchange.
fn before_all(counts: &Counts) -> u64 {
    counts.enforced.values().sum::<u64>() + 1
}

/// One request there and its reply back, which is the next that the client gets.
fn ask(client: &UdpSocket, server: &UdpSocket, request: &Message) -> Result<()> {
    let mut buffer = [0; 100];
    client.send_to(&request.to_vec(), server.local_addr()?)?;
    let (_, from) = server
        .recv_from(&mut buffer)
        .context("no request arrives")?;
    let reply = Message::reply_to(request).to_vec();
    server.send_to(&reply, from)?;
    let (len, from) = client.recv_from(&mut buffer).context("no reply arrives")?;
    ensure!(
        from == server.local_addr()?,
        "a packet of {from} got through"
    );
    ensure!(buffer.get(..len) == Some(&reply[..]), "another reply");
    Ok(())
}

fn add_vlan(below: &Port) -> Result<Port> {
    let name = format!("{}.{VLAN}", below.interface);
    let line = ["link", "add", "link", &below.interface, "name", &name];
    below
        .namespace
        .ip(&[&line[..], &["type", "vlan", "id", VLAN]].concat())?;
    Port::find(&below.namespace, &name)
}

/// Makes a bond that sends by each member in turn.
fn bond(members: [&Port; 2]) -> Result<Port> {
    let namespace = &members[0].namespace;
    namespace.ip(&["link", "add", BOND, "type", "bond", "mode", "balance-rr"])?;
    for member in members {
        join(member, BOND)?;
    }
    Port::find(namespace, BOND)
}

/// Has an interface join a bond, for which it must be down.
pub(super) fn join(member: &Port, bond: &str) -> Result<()> {
    let ip = |line: &[&str]| member.namespace.ip(line).map(drop);
    ip(&["link", "set", &member.interface, "down"])?;
    ip(&["link", "set", &member.interface, "master", bond])?;
    ip(&["link", "set", &member.interface, "up"])
}

/// What `status` says of an interface.
pub(super) fn row(guard: &Guard, port: &Port) -> Result<Value> {
    let status = guard.json(&["status", "--json"])?;
    let rows = status["interfaces"].as_array().into_iter().flatten();
    let mut rows = rows.filter(|row| row["name"] == *port.interface);
    rows.next()
        .cloned()
        .with_context(|| format!("no {} in {status}", port.interface))
}

/// What `status` finds, as text.
pub(super) fn findings(guard: &Guard) -> Result<String> {
    Ok(guard.json(&["status", "--json"])?["findings"].to_string())
}

/// Waits for words in what the guard logs.
pub(super) fn wait_logged(guard: &Guard, words: &str, limit: Duration) -> Result<()> {
    eventually(limit, "a line of the log", || {
        ensure!(guard.stderr().contains(words), "no {words:?}");
        Ok(())
    })
}

/// The first two numbers of this kernel's version.
pub(super) fn kernel() -> Result<(u32, u32)> {
    let name = uname()?;
    let release = name.release().to_string_lossy();
    let mut numbers = release.split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => bail!("Linux {release}"),
    }
}
