//! A guarded host, and a stranger who sends to it from whatever address a test likes.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use ntpguard_common::{maps::tables::Role, reason::Reason, wire::ntp};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    bpftool,
    guard::{Builder, Counts, Guard, Home},
    link::{Port, Veth},
    names,
    namespace::Namespace,
    packets::{
        self,
        frame::{self, Ethernet},
        ntp::{Message, control_request},
        raw::RawSocket,
        sink::Sink,
    },
    switch::{Host, Switch},
    wait::eventually,
};

/// How long a packet may be on its way, and a guard may take to act on what it was told.
const SOON: Duration = Duration::from_secs(5);

/// A port that no guard cares about.
const MARKER_PORT: u16 = 9;

/// Where requests come from.
const CLIENT_PORT: u16 = 40_123;

const BROADCAST_MAC: [u8; 6] = [0xff; 6];

/// Two hosts on a switch: one to be guarded, whose port 123 is counted, and one outside.
#[derive(Debug)]
pub struct Lab {
    /// The host to be guarded.
    pub inside: Host,
    /// The host that sends.
    pub outside: Host,
    /// What came through to the guarded host's port 123.
    pub sink: Sink,
    markers: Sink,
    raw: RawSocket,
    inner: RawSocket,
    files: TempDir,
    _switch: Option<Switch>,
}

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// What the kernel counted it for.
    pub reason: Reason,
    /// Whether it reached the socket.
    pub arrived: bool,
}

impl Lab {
    /// Makes the hosts and the counting socket, and no guard.
    ///
    /// # Errors
    ///
    /// When a namespace, cable or socket cannot be had.
    pub fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let (inside, outside) = (switch.host("inside", 1)?, switch.host("outside", 2)?);
        Self::between(inside, outside, Some(switch))
    }

    /// The same with nothing between the hosts but a cable: a switch takes off a tag, and may drop
    /// what is wrong in itself.
    ///
    /// # Errors
    ///
    /// As for [`Lab::new`].
    pub fn on_a_cable() -> Result<Self> {
        let (inside, outside) = (Namespace::new("inside")?, Namespace::new("outside")?);
        let of = |number: u8| {
            let v6 = Ipv6Addr::new(0xfd00, 0x97, 0, 0, 0, 0, 0, number.into());
            (Ipv4Addr::new(10, 97, 0, number), v6)
        };
        let (ours, theirs) = (of(1), of(2));
        let texts = |(v4, v6): (Ipv4Addr, Ipv6Addr)| [format!("{v4}/24"), format!("{v6}/64")];
        let (left, right) = (texts(ours), texts(theirs));
        let cable = Veth::between(
            &inside,
            &left.each_ref().map(String::as_str),
            &outside,
            &right.each_ref().map(String::as_str),
        )?;
        let host = |port: Port, (v4, v6)| Host {
            namespace: port.namespace.clone(),
            port,
            v4,
            v6,
        };
        Self::between(host(cable.left, ours), host(cable.right, theirs), None)
    }

    fn between(inside: Host, outside: Host, switch: Option<Switch>) -> Result<Self> {
        Ok(Self {
            sink: Sink::ntp(&inside.namespace)?,
            markers: Sink::on(&inside.namespace, MARKER_PORT)?,
            raw: RawSocket::open(&outside.port)?,
            inner: RawSocket::open(&inside.port)?,
            files: tempfile::tempdir()?,
            inside,
            outside,
            _switch: switch,
        })
    }

    /// A guard of the inner host's interface.
    pub fn guard(&self) -> Builder {
        Guard::builder(&self.inside.namespace)
            .untracked()
            .interface(&self.inside.port.interface)
    }

    /// Where files of this test can be.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Writes a configuration file and tells where it is.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.file(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Runs another command of the product for the guard whose home this is.
    ///
    /// # Errors
    ///
    /// As for [`crate::guard::cli`].
    pub fn cli(&self, home: &Home, arguments: &[&str]) -> Result<std::process::Output> {
        crate::guard::cli(&self.inside.namespace, home, arguments)
    }

    /// As [`Lab::cli`], for commands that print JSON.
    ///
    /// # Errors
    ///
    /// As for [`crate::guard::json`].
    pub fn json(&self, home: &Home, arguments: &[&str]) -> Result<Value> {
        crate::guard::json(&self.inside.namespace, home, arguments)
    }

    /// A frame in which `from` plays the part that `role` allows.
    ///
    /// # Errors
    ///
    /// When there is no such packet: a broadcast over IPv6.
    pub fn frame(&self, from: IpAddr, role: Role) -> Result<Vec<u8>> {
        let (port, payload) = match role {
            Role::Server => (ntp::PORT, Message::new(4, 4).to_vec()),
            Role::Peer => (ntp::PORT, Message::new(4, 2).to_vec()),
            Role::Broadcast => (ntp::PORT, Message::new(4, 5).to_vec()),
            Role::Client => (CLIENT_PORT, Message::request(1).to_vec()),
            Role::Control => (CLIENT_PORT, control_request()),
        };
        let to: IpAddr = match (role, from) {
            (Role::Broadcast, IpAddr::V4(_)) => Ipv4Addr::BROADCAST.into(),
            (Role::Broadcast, IpAddr::V6(_)) => bail!("there is no broadcast over IPv6"),
            (_, from) => self.inside_of(from),
        };
        let packet = frame::udp(
            SocketAddr::new(from, port),
            SocketAddr::new(to, ntp::PORT),
            &payload,
        )?;
        let ethernet = Ethernet {
            from: self.outside.port.mac,
            to: if role == Role::Broadcast {
                BROADCAST_MAC
            } else {
                self.inside.port.mac
            },
            tags: &[],
        };
        Ok(ethernet.wrap(&packet))
    }

    /// A frame from port 123 of `from` to port 123 of the inner host.
    ///
    /// # Errors
    ///
    /// When the message is too long.
    pub fn inbound(&self, from: IpAddr, message: &Message) -> Result<Vec<u8>> {
        let (from_mac, to_mac) = (self.outside.port.mac, self.inside.port.mac);
        between(from, from_mac, self.inside_of(from), to_mac, message)
    }

    /// The inner host sends a message from its port 123 to that of `to`.
    ///
    /// # Errors
    ///
    /// When the message is too long.
    pub fn send_out(&self, to: IpAddr, message: &Message) -> Result<()> {
        let (from_mac, to_mac) = (self.inside.port.mac, self.outside.port.mac);
        let frame = between(self.inside_of(to), from_mac, to, to_mac, message)?;
        self.inner.send(&frame)
    }

    /// Puts a packet into a frame to the inner host, with these VLAN tags, outermost first.
    pub fn wrap(&self, packet: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
        let ethernet = Ethernet {
            from: self.outside.port.mac,
            to: self.inside.port.mac,
            tags,
        };
        ethernet.wrap(packet)
    }

    /// The inner host's address of the same family.
    pub fn inside_of(&self, other: IpAddr) -> IpAddr {
        match other {
            IpAddr::V4(_) => self.inside.v4.into(),
            IpAddr::V6(_) => self.inside.v6.into(),
        }
    }

    /// Sends one packet and tells what the guard of `home` made of it.
    ///
    /// # Errors
    ///
    /// When the kernel counted nothing, or more than this packet.
    pub fn fate(&self, home: &Home, from: &str, role: Role) -> Result<Fate> {
        self.fate_of(home, &self.frame(from.parse()?, role)?)
    }

    /// A transmit timestamp that no other request has.
    pub fn next_transmit(&self) -> u64 {
        const FIRST: u64 = 0xeeae_5526_0000_0000;
        FIRST + u64::from(names::number())
    }

    /// Sends any frame and tells what the guard of `home` made of it.
    ///
    /// # Errors
    ///
    /// When the kernel counted nothing, or more than this packet.
    pub fn fate_of(&self, home: &Home, frame: &[u8]) -> Result<Fate> {
        let (counted, received) = (Counts::in_kernel(home)?, self.sink.count());
        self.raw.send(frame)?;
        let (reason, monitored) = eventually(SOON, "the packet's being counted", || {
            the_one_counted(&counted, &Counts::in_kernel(home)?)
        })?;
        if monitored || reason.admits() {
            self.sink.wait_for(received + 1, SOON)?;
        } else {
            self.flush()?;
        }
        let arrived = self.sink.count() > received;
        Ok(Fate { reason, arrived })
    }

    /// Fails unless the next packet in this part is admitted and arrives.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn admits(&self, home: &Home, from: &str, role: Role) -> Result<()> {
        let fate = self.fate(home, from, role)?;
        ensure!(
            fate.arrived && fate.reason.admits(),
            "{from} as {}: {fate:?}",
            role.name()
        );
        Ok(())
    }

    /// Fails unless the next packet in this part is dropped, because of its source.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn drops(&self, home: &Home, from: &str, role: Role) -> Result<()> {
        let fate = self.fate(home, from, role)?;
        ensure!(
            !fate.arrived && matches!(fate.reason, Reason::Unlisted | Reason::Role),
            "{from} as {}: {fate:?}",
            role.name()
        );
        Ok(())
    }

    /// Fails unless a packet arrives where there is no guard: nothing else stops it.
    ///
    /// # Errors
    ///
    /// When it does not arrive.
    pub fn arrives_unguarded(&self, from: &str, role: Role) -> Result<()> {
        let received = self.sink.count();
        self.raw.send(&self.frame(from.parse()?, role)?)?;
        self.sink.wait_for(received + 1, SOON)
    }

    /// Waits until everything sent so far is through or dropped.
    ///
    /// # Errors
    ///
    /// When what no guard stops does not arrive.
    pub fn flush(&self) -> Result<()> {
        // Several, since packets of two CPUs may overtake each other.
        const MARKERS: u64 = 8;
        let seen = self.markers.count();
        for _ in 0..MARKERS {
            let from = SocketAddr::new(self.outside.v4.into(), 0);
            let to = SocketAddr::new(self.inside.v4.into(), MARKER_PORT);
            packets::send(&self.outside.namespace, from, to, b"marker")?;
        }
        self.markers.wait_for(seen + MARKERS, SOON)?;
        // The sink's thread may be a moment behind that of the markers.
        thread::sleep(Duration::from_millis(20));
        Ok(())
    }

    /// The id of the link that guards the inner host's interface.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn link(&self, home: &Home) -> Result<u64> {
        let pin = home
            .pin_dir()
            .join("links")
            .join(format!("{}-ingress", self.inside.port.index));
        let pin = pin.to_string_lossy();
        bpftool::link_list()?
            .iter()
            .find(|link| {
                let pinned = link["pinned"].as_array();
                pinned.is_some_and(|paths| paths.iter().any(|path| path.as_str() == Some(&*pin)))
            })
            .and_then(|link| link["id"].as_u64())
            .with_context(|| format!("no link is pinned as {pin}"))
    }
}

/// A frame with a message from port 123 to port 123.
fn between(
    from: IpAddr,
    from_mac: [u8; 6],
    to: IpAddr,
    to_mac: [u8; 6],
    message: &Message,
) -> Result<Vec<u8>> {
    let (from, to) = (
        SocketAddr::new(from, ntp::PORT),
        SocketAddr::new(to, ntp::PORT),
    );
    let packet = frame::udp(from, to, &message.to_vec())?;
    let link = Ethernet {
        from: from_mac,
        to: to_mac,
        tags: &[],
    };
    Ok(link.wrap(&packet))
}

/// The reason of which there is one more, and whether it is among those monitored.
fn the_one_counted(before: &Counts, after: &Counts) -> Result<(Reason, bool)> {
    let mut more = Vec::new();
    for &reason in Reason::ALL {
        let packets = after.enforced(reason) - before.enforced(reason);
        more.extend((packets > 0).then_some((reason, false, packets)));
        let packets = after.monitored(reason) - before.monitored(reason);
        more.extend((packets > 0).then_some((reason, true, packets)));
    }
    match more.as_slice() {
        [(reason, monitored, 1)] => Ok((*reason, *monitored)),
        [] => bail!("nothing was counted"),
        several => bail!("more than one packet was counted: {several:?}"),
    }
}
