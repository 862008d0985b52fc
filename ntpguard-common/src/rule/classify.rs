//! The part that a packet plays, as its mode, version and ports tell.

use crate::{
    maps::tables::Role,
    reason::Reason,
    wire::{
        address::Address,
        frame::Frame,
        ntp::{self, FirstByte, Mode},
        packet::{Datagram, Family, Link},
    },
};

/// The part a packet plays: any one of `roles` lets its source play it, with this proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketClass {
    /// Bits of [`Role`].
    pub roles: u32,
    /// What it takes besides the role.
    pub proof: Proof,
    /// Whether its source is a server that is asked at another port than 123, to which its grant
    /// belongs.
    pub custom_port: bool,
}

/// What a packet has to prove besides its source's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Proof {
    /// Nothing.
    None = 0,
    /// That it answers a request.
    Answer = 1,
    /// That we send its source symmetric packets.
    Association = 2,
}

impl PacketClass {
    const fn of(role: Role) -> Self {
        Self {
            roles: role.bit(),
            proof: Proof::None,
            custom_port: false,
        }
    }

    const fn with(role: Role, proof: Proof) -> Self {
        Self {
            roles: role.bit(),
            proof,
            custom_port: false,
        }
    }

    /// The port at which the datagram's source is asked, if that is not 123.
    #[inline(always)]
    pub(crate) fn custom_port_at(&self, datagram: &Datagram) -> Option<u16> {
        self.custom_port.then_some(datagram.source_port)
    }
}

/// Finds the part a datagram plays from its mode, version and ports, or why it can play none.
/// `custom_port` says whether its source is a server that is asked there, at another port than 123.
#[inline(always)]
pub(crate) fn classify<F: Frame + ?Sized>(
    frame: &F,
    datagram: &Datagram,
    link: Link,
    custom_port: bool,
) -> Result<PacketClass, Reason> {
    if datagram.payload_len == 0 {
        return Err(Reason::Length);
    }
    let first = FirstByte(frame.load_u8(datagram.payload).ok_or(Reason::Length)?);
    let (version, mode) = (first.version(), first.mode());
    if mode == Mode::Private {
        return Err(Reason::Private);
    }
    if version == 0 || version > 5 {
        return Err(Reason::Version);
    }
    // NTPv5 has clients and servers only (draft-ietf-ntp-ntpv5).
    if version == 5 && !matches!(mode, Mode::Client | Mode::Server) {
        return Err(Reason::Mode);
    }
    let to_ntp = datagram.destination_port == ntp::PORT;
    let from_ntp = datagram.source_port == ntp::PORT;
    // From where a server is asked to another port of ours, all is as if both were 123; to our 123, the
    // reply to a request that left from there.
    let custom_port = custom_port && (!to_ntp || mode == Mode::Server);
    let (to_ntp, from_ntp) = (to_ntp || custom_port, from_ntp || custom_port);
    let (class, shortest) = match mode {
        Mode::Server if from_ntp => (
            PacketClass::with(Role::Server, Proof::Answer),
            ntp::HEADER_LEN,
        ),
        Mode::Client if to_ntp => (PacketClass::of(Role::Client), ntp::HEADER_LEN),
        // chrony and Windows take it for a request, so a client may send it too.
        Mode::SymmetricActive if to_ntp => (
            PacketClass {
                roles: Role::Peer.bit() | Role::Client.bit(),
                ..PacketClass::of(Role::Peer)
            },
            ntp::HEADER_LEN,
        ),
        Mode::SymmetricPassive if to_ntp => (
            PacketClass::with(Role::Peer, Proof::Association),
            ntp::HEADER_LEN,
        ),
        Mode::Broadcast if to_ntp && is_broadcast(frame, datagram, link) => {
            (PacketClass::of(Role::Broadcast), ntp::HEADER_LEN)
        }
        // Version 1 had no modes (RFC 1059): its clients send 0 here.
        Mode::Reserved if version == 1 && to_ntp && !from_ntp => {
            (PacketClass::of(Role::Client), ntp::HEADER_LEN)
        }
        Mode::Control => {
            let second = frame.load_u8(datagram.payload + 1).ok_or(Reason::Length)?;
            let at_home = if ntp::is_response(second) {
                from_ntp
            } else {
                to_ntp
            };
            if !at_home {
                return Err(Reason::Mode);
            }
            (PacketClass::of(Role::Control), ntp::CONTROL_HEADER_LEN)
        }
        _ => return Err(Reason::Mode),
    };
    // The stack drops a frame that ends before its packet does: it must not count as admitted.
    let last: Option<[u8; 4]> = frame.load(datagram.payload + shortest - 4);
    if usize::from(datagram.payload_len) < shortest || last.is_none() {
        return Err(Reason::Length);
    }
    Ok(PacketClass {
        custom_port,
        ..class
    })
}

/// Whether a datagram that can play no part is a whole broadcast to some group.
#[inline(always)]
pub(crate) fn is_to_group<A: Address, F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> bool {
    let Some(first) = frame.load_u8(datagram.payload) else {
        return false;
    };
    let first = FirstByte(first);
    let last: Option<[u8; 4]> = frame.load(datagram.payload + ntp::HEADER_LEN - 4);
    first.mode() == Mode::Broadcast
        && matches!(first.version(), 1..=4)
        && datagram.destination_port == ntp::PORT
        && usize::from(datagram.payload_len) >= ntp::HEADER_LEN
        && last.is_some()
        && A::destination(frame, datagram).is_group()
}

/// First bytes of packets: a bit is set for each, its leap indicator left out.
#[derive(Clone, Copy)]
pub(crate) struct FirstBytes(u64);

impl FirstBytes {
    /// Those of replies and of requests, of any version that has both.
    const REPLIES: u64 = Self::of(Mode::Server);
    const REQUESTS: u64 = Self::of(Mode::Client);

    const fn of(mode: Mode) -> u64 {
        let mut bits = 0;
        let mut version = 1;
        while version <= 5 {
            bits |= 1 << (version << 3 | mode as u64);
            version += 1;
        }
        bits
    }

    /// Those of replies from port 123, and of requests to it; `None` where neither end is that port.
    #[inline(always)]
    pub(crate) const fn between(from_ntp: bool, to_ntp: bool) -> Option<Self> {
        match (from_ntp, to_ntp) {
            (true, true) => Some(Self(Self::REPLIES | Self::REQUESTS)),
            (true, false) => Some(Self(Self::REPLIES)),
            (false, true) => Some(Self(Self::REQUESTS)),
            (false, false) => None,
        }
    }

    /// Whether a packet that starts so is among them.
    #[inline(always)]
    pub(crate) const fn has(self, first: FirstByte) -> bool {
        self.0 >> (first.0 & 0x3f) & 1 != 0
    }
}

/// The part of such a packet.
#[inline(always)]
pub(crate) const fn plain_class(first: FirstByte) -> PacketClass {
    match first.mode() {
        Mode::Server => PacketClass::with(Role::Server, Proof::Answer),
        _ => PacketClass::of(Role::Client),
    }
}

/// Whether a datagram was sent to many: the NTP group, the limited broadcast address, or a
/// network's own, which the link alone can tell apart from a host's.
#[inline(always)]
fn is_broadcast<F: Frame + ?Sized>(frame: &F, datagram: &Datagram, link: Link) -> bool {
    match datagram.family {
        Family::V4 => {
            let to = <[u8; 4]>::destination(frame, datagram);
            let to_all = to == ntp::GROUP_V4 || to == ntp::LIMITED_BROADCAST_V4;
            to_all || link == Link::Ethernet && frame.load::<6>(0) == Some([0xff; 6])
        }
        Family::V6 => ntp::is_group_v6(<[u8; 16]>::destination(frame, datagram)),
    }
}
