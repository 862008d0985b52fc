//! The packets whose way through a program is measured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result};
use etherparse::PacketBuilder;
use ntpguard_common::wire::ntp;
use ntpguard_tests::packets::{
    frame::{self, Ethernet},
    ntp::{Message, monlist_request},
};

/// The address whose replies are admitted.
pub(crate) const LISTED_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The same over IPv6.
pub(crate) const LISTED_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

const STRANGER_V4: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);
const STRANGER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 1);
const US_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const US_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xfe, 0, 0, 0, 0, 1);

const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const THEIR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OTHER_PORT: u16 = 40_000;
const HOPS: u8 = 64;

const VLAN: (u16, u16) = (0x8100, 7);
const DESTINATION_OPTIONS: u8 = 60;
/// The most that the walk steps over.
const LONGEST_CHAIN: usize = 6;
/// Offset of the payload length and of the next header in an IPv6 header, and the header's length.
const V6_PAYLOAD_LEN: usize = 4;
const V6_NEXT: usize = 6;
const V6_LEN: usize = 40;

/// XDP's answer that ends a packet.
pub(crate) const XDP_DROP: u32 = 1;
/// XDP's answer that lets a packet go on.
pub(crate) const XDP_PASS: u32 = 2;

/// How the guard that a packet is sent through is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Replies must answer requests.
    Strict,
    /// They need not.
    Untracked,
    /// The listed addresses are clients, whose rate is limited.
    Serving,
    /// The same without a limit.
    ServingUnlimited,
    /// The prefix of the listed addresses is granted instead of each.
    ServingPrefix,
}

/// One of them.
pub(crate) struct Case {
    /// What it is.
    pub(crate) name: &'static str,
    /// Its bytes, from the Ethernet header on.
    pub(crate) frame: Vec<u8>,
    /// What the guard must do with it.
    pub(crate) action: u32,
    /// How the guard is set.
    pub(crate) guard: Guard,
    /// The most nanoseconds above the floor that are to be spent on it, where the design says.
    pub(crate) aim: Option<f64>,
}

impl Case {
    fn passes(name: &'static str, frame: Vec<u8>) -> Self {
        Self {
            name,
            frame,
            action: XDP_PASS,
            guard: Guard::Strict,
            aim: None,
        }
    }

    fn drops(name: &'static str, frame: Vec<u8>) -> Self {
        Self {
            action: XDP_DROP,
            ..Self::passes(name, frame)
        }
    }

    fn aims(self, nanoseconds: f64) -> Self {
        Self {
            aim: Some(nanoseconds),
            ..self
        }
    }

    fn by(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    fn untracked(self) -> Self {
        self.by(Guard::Untracked)
    }
}

/// All of them. What is not NTP comes from a listed address, so that filters which know no ports
/// pass it too. Nothing was asked, so that no reply answers a request.
pub(crate) fn cases() -> Result<Vec<Case>> {
    let [listed_v4, listed_v6]: [IpAddr; 2] = listed(0);
    let [stranger_v4, stranger_v6]: [IpAddr; 2] = [STRANGER_V4.into(), STRANGER_V6.into()];
    let from = |source| reply(source, &[]);
    Ok(vec![
        Case::passes("ARP", arp()).aims(5.0),
        Case::passes("TCP over IPv4", tcp(listed_v4, &[])?).aims(3.0),
        Case::passes("TCP over IPv4, VLAN", tcp(listed_v4, &[VLAN])?).aims(5.0),
        Case::passes("TCP over IPv6", tcp(listed_v6, &[])?).aims(5.0),
        Case::passes("ICMPv6", echo_v6()?).aims(5.0),
        Case::passes("UDP over IPv4, other port", other_port(listed_v4)?).aims(5.0),
        Case::passes("UDP over IPv6, other port", other_port(listed_v6)?).aims(5.0),
        Case::drops("mode 7 over IPv4", monlist()?),
        Case::drops("unlisted over IPv4", from(stranger_v4)?).aims(25.0),
        Case::drops("unlisted over IPv4, VLAN", reply(stranger_v4, &[VLAN])?).aims(25.0),
        Case::drops("unlisted over IPv6", from(stranger_v6)?).aims(25.0),
        Case::drops("unlisted, 6 extension headers", chained()?),
        Case::drops("unlisted over IPv4, untracked", from(stranger_v4)?).untracked(),
        Case::drops("unlisted over IPv6, untracked", from(stranger_v6)?).untracked(),
        Case::drops("listed, unasked, over IPv4", from(listed_v4)?),
        Case::drops("listed, unasked, over IPv6", from(listed_v6)?),
        Case::passes("listed over IPv4, untracked", from(listed_v4)?).untracked(),
        Case::passes("listed over IPv6, untracked", from(listed_v6)?).untracked(),
        served("served client over IPv4", listed_v4, Guard::Serving)?.aims(80.0),
        served("served client over IPv6", listed_v6, Guard::Serving)?.aims(80.0),
        served(
            "served over IPv4, by prefix",
            listed_v4,
            Guard::ServingPrefix,
        )?,
        served(
            "served over IPv6, by prefix",
            listed_v6,
            Guard::ServingPrefix,
        )?,
        served(
            "served over IPv4, without limit",
            listed_v4,
            Guard::ServingUnlimited,
        )?,
        served(
            "served over IPv6, without limit",
            listed_v6,
            Guard::ServingUnlimited,
        )?,
    ])
}

/// The listed addresses of this number, from 0 on, one of each family.
pub(crate) fn listed(number: u32) -> [IpAddr; 2] {
    [
        Ipv4Addr::from_bits(LISTED_V4.to_bits() + number).into(),
        Ipv6Addr::from_bits(LISTED_V6.to_bits() + u128::from(number)).into(),
    ]
}

/// A request to a server, for [`reply`] to answer.
pub(crate) fn request(to: IpAddr) -> Result<Vec<u8>> {
    let from = SocketAddr::new(us(to), OTHER_PORT);
    let packet = frame::udp(from, SocketAddr::new(to, ntp::PORT), &asked().to_vec())?;
    Ok(wrap(&packet, &[]))
}

/// A request of a client.
fn served(name: &'static str, from: IpAddr, guard: Guard) -> Result<Case> {
    let from = SocketAddr::new(from, OTHER_PORT);
    let frame = udp(from, ntp::PORT, &asked().to_vec(), &[])?;
    Ok(Case::passes(name, frame).by(guard))
}

/// Where the last 32 bits of the token are in [`request`] and [`reply`], bytes from the start of
/// frames without a tag: of the transmit timestamp, and of the origin timestamp.
pub(crate) const fn token_places(server: IpAddr) -> [u32; 2] {
    const ETHERNET: u32 = 14;
    const UDP: u32 = 8;
    let ip = if server.is_ipv4() { 20 } else { 40 };
    let low = ETHERNET + ip + UDP + 4;
    [low + ntp::TRANSMIT as u32, low + ntp::ORIGIN as u32]
}

fn asked() -> Message {
    Message::request(1)
}

/// A server's reply, from any address.
pub(crate) fn reply(from: IpAddr, tags: &[(u16, u16)]) -> Result<Vec<u8>> {
    let from = SocketAddr::new(from, ntp::PORT);
    udp(
        from,
        OTHER_PORT,
        &Message::reply_to(&asked()).to_vec(),
        tags,
    )
}

fn monlist() -> Result<Vec<u8>> {
    let from = SocketAddr::new(LISTED_V4.into(), OTHER_PORT);
    udp(from, ntp::PORT, &monlist_request(), &[])
}

pub(crate) fn other_port(from: IpAddr) -> Result<Vec<u8>> {
    let from = SocketAddr::new(from, OTHER_PORT);
    udp(from, OTHER_PORT, &[0; 48], &[])
}

fn udp(from: SocketAddr, port: u16, payload: &[u8], tags: &[(u16, u16)]) -> Result<Vec<u8>> {
    let to = SocketAddr::new(us(from.ip()), port);
    Ok(wrap(&frame::udp(from, to, payload)?, tags))
}

fn us(from: IpAddr) -> IpAddr {
    if from.is_ipv4() {
        US_V4.into()
    } else {
        US_V6.into()
    }
}

fn wrap(packet: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    Ethernet {
        from: THEIR_MAC,
        to: OUR_MAC,
        tags,
    }
    .wrap(packet)
}

/// A segment of a connection, as most traffic is.
pub(crate) fn tcp(from: IpAddr, tags: &[(u16, u16)]) -> Result<Vec<u8>> {
    let ip = match from {
        IpAddr::V4(from) => PacketBuilder::ipv4(from.octets(), US_V4.octets(), HOPS),
        IpAddr::V6(from) => PacketBuilder::ipv6(from.octets(), US_V6.octets(), HOPS),
    };
    let mut packet = Vec::new();
    ip.tcp(443, OTHER_PORT, 1, 0xffff)
        .ack(1)
        .write(&mut packet, &[0; 100])?;
    Ok(wrap(&packet, tags))
}

fn echo_v6() -> Result<Vec<u8>> {
    let mut packet = Vec::new();
    PacketBuilder::ipv6(LISTED_V6.octets(), US_V6.octets(), HOPS)
        .icmpv6_echo_request(1, 1)
        .write(&mut packet, &[0; 56])?;
    Ok(wrap(&packet, &[]))
}

/// Who has our address? (RFC 826), padded to the shortest frame.
fn arp() -> Vec<u8> {
    let mut frame = [&OUR_MAC[..], &THEIR_MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    frame.extend(
        [
            &THEIR_MAC[..],
            &LISTED_V4.octets(),
            &[0; 6],
            &US_V4.octets(),
        ]
        .concat(),
    );
    frame.resize(60, 0);
    frame
}

/// An unlisted reply behind the longest chain of extension headers that is walked.
fn chained() -> Result<Vec<u8>> {
    let (from, to) = (
        SocketAddr::new(STRANGER_V6.into(), ntp::PORT),
        SocketAddr::new(US_V6.into(), OTHER_PORT),
    );
    let mut packet = frame::udp(from, to, &Message::new(4, 4).to_vec())?;
    let mut rest = packet.split_off(V6_LEN);
    let mut next = packet[V6_NEXT];
    for _ in 0..LONGEST_CHAIN {
        // Eight bytes, of which the last six are one padding option (RFC 8200 section 4.2).
        rest = [&[next, 0, 1, 4, 0, 0, 0, 0], rest.as_slice()].concat();
        next = DESTINATION_OPTIONS;
    }
    packet[V6_NEXT] = next;
    let len = u16::try_from(rest.len()).context("too long a chain")?;
    packet[V6_PAYLOAD_LEN..][..2].copy_from_slice(&len.to_be_bytes());
    packet.extend(rest);
    Ok(wrap(&packet, &[]))
}
