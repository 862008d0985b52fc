//! The parser (the slow path): from the link to a UDP datagram on port 123.
//!
//! Reads are taken one after another, each with its own way out: of two in one pattern the
//! compiler makes a branch whose second half the verifier sees with the first one missing.

use core::mem::{offset_of, size_of};

use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use super::{
    frame::Frame,
    inner::{Inner, pack_inner},
    ntp,
};
use crate::reason::Reason;

/// What stands at the start of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Link {
    /// An Ethernet header.
    Ethernet = 0,
    /// The IP header itself: tun, ppp, wireguard, wwan.
    RawIp = 1,
}

/// Most VLAN tags (802.1Q and 802.1ad) that the parser steps over.
pub const MAX_TAGS: usize = 4;

/// Most IPv6 extension headers that the parser steps over.
pub const MAX_EXTENSION_HEADERS: usize = 6;

/// Most packets inside packets that the judge looks into.
pub const MAX_INNER_PACKETS: usize = 3;

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
/// At least the greatest offset of an IP header, and that of a UDP header or payload behind the longest
/// chain of extension headers.
pub const NETWORK_MASK: usize = 0x3f;
/// See [`NETWORK_MASK`].
pub const PAYLOAD_MASK: usize = 0x3fff;

const ETHERTYPE_8021Q: u16 = 0x8100;
const ETHERTYPE_8021AD: u16 = 0x88a8;
pub(crate) const TAG_LEN: usize = 4;

const HOP_BY_HOP: u8 = 0;
pub(crate) const UDP: u8 = 17;
const IPV4_INSIDE: u8 = 4;
const IPV6_INSIDE: u8 = 41;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Version 4, and a header without options.
pub(crate) const PLAIN_IPV4: u8 = 0x45;

/// What the first four bits of an IPv6 header say.
pub(crate) const IPV6_VERSION: u8 = 6;

/// The fields of IPv4's flags and fragment offset, in host order.
pub(crate) const IPV4_MORE_FRAGMENTS: u16 = 0x2000;
pub(crate) const IPV4_FRAGMENT_OFFSET: u16 = 0x1fff;

/// The same of an IPv6 fragment header (RFC 8200 section 4.5).
const IPV6_MORE_FRAGMENTS: u16 = 0x0001;
const IPV6_FRAGMENT_OFFSET: u16 = 0xfff8;

/// What the parser made of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Not UDP, or nothing that reaches a socket by itself: none of the guard's business.
    Foreign,
    /// A UDP datagram that was not looked for.
    OtherPorts,
    /// Something that hides whether it was looked for, and wrong in itself.
    Bad(Reason),
    /// A UDP datagram that was looked for, right or wrong.
    Datagram(Datagram),
    /// An [`Inner`] packet, as [`pack_inner`] makes it: beside fields of other sizes the compiler
    /// would take numbers of other variants apart, which verifiers before 6.8 cannot follow.
    Inner(u64),
    /// The frame, or what can be read of it here, ends before that is known. If there is no more of it,
    /// it is bad for this reason or, with none, foreign: no stack takes it.
    Cut(Option<Reason>),
}

/// Where a datagram's parts are. Offsets are bytes from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The IP version.
    pub family: Family,
    /// Offset of the IP header.
    pub network: usize,
    /// Offset of the UDP payload.
    pub payload: usize,
    /// Bytes of UDP payload.
    pub payload_len: u16,
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// What is wrong with it as a datagram: it is a fragment, or its length is none.
    pub flaw: Option<Reason>,
}

/// The IP version of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    V4,
    V6,
}

/// The datagrams that are looked for, by their ports: the rest of one that is not looked for may be
/// anything.
pub trait Wanted {
    /// Whether a datagram is among them.
    fn is(&self, datagram: &Datagram) -> bool;
}

/// Those on NTP's own port, at one end or both.
#[derive(Clone, Copy, Debug)]
pub struct OnNtpPort;

impl Wanted for OnNtpPort {
    #[inline(always)]
    fn is(&self, datagram: &Datagram) -> bool {
        datagram.source_port == ntp::PORT || datagram.destination_port == ntp::PORT
    }
}

/// All of them.
#[derive(Clone, Copy, Debug)]
pub struct OnAnyPort;

impl Wanted for OnAnyPort {
    #[inline(always)]
    fn is(&self, _datagram: &Datagram) -> bool {
        true
    }
}

/// Parses `frame` from its link header to a UDP datagram.
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F, link: Link, wanted: &impl Wanted) -> Packet {
    match link {
        Link::Ethernet => walk_ethernet(frame, wanted),
        Link::RawIp => walk_raw_ip(frame, wanted),
    }
}

#[inline(always)]
fn walk_raw_ip<F: Frame + ?Sized>(frame: &F, wanted: &impl Wanted) -> Packet {
    // Two bytes: for one, LLVM turns `start + 1 > end` into `start >= end`, which at the start of
    // the packet tells the verifier nothing (find_good_pkt_pointers in kernel/bpf/verifier.c).
    match frame.load(0).map(|[byte, _]: [u8; 2]| byte >> 4) {
        Some(4) => walk_ipv4(frame, 0, wanted),
        Some(6) => walk_ipv6(frame, 0, wanted),
        Some(_) => Packet::Foreign,
        None => Packet::Cut(None),
    }
}

/// Parses from the IP header of a packet inside another.
#[inline(always)]
pub fn parse_inner<F: Frame + ?Sized>(frame: &F, inner: Inner, wanted: &impl Wanted) -> Packet {
    match inner.family {
        Family::V4 => walk_ipv4(frame, inner.network, wanted),
        Family::V6 => walk_ipv6(frame, inner.network, wanted),
    }
}

/// Most frames have no tag: for them every offset up to the IP header is a constant.
#[inline(always)]
fn walk_ethernet<F: Frame + ?Sized>(frame: &F, wanted: &impl Wanted) -> Packet {
    let Some(ether_type) = frame.load_u16(offset_of!(EthHdr, ether_type)) else {
        return Packet::Cut(None);
    };
    if is_tag(ether_type) {
        walk_tagged(frame, wanted)
    } else {
        parse_network(frame, ether_type, size_of::<EthHdr>(), wanted)
    }
}

#[inline(always)]
fn walk_tagged<F: Frame + ?Sized>(frame: &F, wanted: &impl Wanted) -> Packet {
    let mut offset = size_of::<EthHdr>();
    let mut inner = ETHERTYPE_8021Q;
    for _ in 0..MAX_TAGS {
        let Some(ether_type) = frame.load_u16(offset + 2) else {
            return Packet::Cut(None);
        };
        inner = ether_type;
        offset += TAG_LEN;
        if !is_tag(inner) {
            break;
        }
    }
    if is_tag(inner) {
        return Packet::Bad(Reason::HeaderChain);
    }
    parse_network(
        frame,
        inner,
        frame.mask_opaque(offset, NETWORK_MASK),
        wanted,
    )
}

#[inline(always)]
fn parse_network<F: Frame + ?Sized>(
    frame: &F,
    ether_type: u16,
    offset: usize,
    wanted: &impl Wanted,
) -> Packet {
    match ether_type {
        ETHERTYPE_IPV4 => walk_ipv4(frame, offset, wanted),
        ETHERTYPE_IPV6 => walk_ipv6(frame, offset, wanted),
        _ => Packet::Foreign,
    }
}

#[inline(always)]
pub(crate) const fn is_tag(ether_type: u16) -> bool {
    ether_type == ETHERTYPE_8021Q || ether_type == ETHERTYPE_8021AD
}

/// Offsets from here on are at most a few header lengths, so sums of them cannot overflow.
#[inline(always)]
fn walk_ipv4<F: Frame + ?Sized>(frame: &F, network: usize, wanted: &impl Wanted) -> Packet {
    let Some(header) = frame.load::<{ size_of::<Ipv4Hdr>() }>(network) else {
        return Packet::Cut(None);
    };
    if header[offset_of!(Ipv4Hdr, proto)] != UDP {
        return Packet::Foreign;
    }
    // A later fragment carries no ports, and is worth nothing without the first.
    let fragment = u16_at(&header, offset_of!(Ipv4Hdr, frags));
    if fragment & IPV4_FRAGMENT_OFFSET != 0 {
        return Packet::Foreign;
    }
    let is_fragment = fragment & IPV4_MORE_FRAGMENTS != 0;
    let flaw = is_fragment.then_some(Reason::Fragment);
    let vihl = header[offset_of!(Ipv4Hdr, vihl)];
    let total = u16_at(&header, offset_of!(Ipv4Hdr, tot_len));
    let plain = size_of::<Ipv4Hdr>() as u16;
    if vihl == PLAIN_IPV4 && total >= plain {
        let udp = network + usize::from(plain);
        let rest = total - plain;
        return walk_udp(frame, Family::V4, network, udp, rest, flaw, wanted);
    }
    let length = u16::from(vihl & 0x0f) * 4;
    if vihl >> 4 != 4 || length < plain || total < length {
        return Packet::Bad(Reason::Malformed);
    }
    let udp = network + usize::from(length);
    let rest = total - length;
    walk_udp(frame, Family::V4, network, udp, rest, flaw, wanted)
}

/// Reads a big-endian number out of a header.
#[inline(always)]
pub(crate) const fn u16_at(header: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes([header[offset], header[offset + 1]])
}

#[inline(always)]
fn walk_ipv6<F: Frame + ?Sized>(frame: &F, network: usize, wanted: &impl Wanted) -> Packet {
    let Some(header) = frame.load::<{ offset_of!(Ipv6Hdr, src_addr) }>(network) else {
        return Packet::Cut(None);
    };
    let next = header[offset_of!(Ipv6Hdr, next_hdr)];
    if next != UDP && !is_extension(next) {
        return Packet::Foreign;
    }
    if header[0] >> 4 != IPV6_VERSION {
        return Packet::Bad(Reason::Malformed);
    }
    let rest = u16_at(&header, offset_of!(Ipv6Hdr, payload_len));
    if next != UDP {
        return parse_extensions(frame, network, next, rest, wanted);
    }
    let offset = network + size_of::<Ipv6Hdr>();
    walk_udp(frame, Family::V6, network, offset, rest, None, wanted)
}

/// What was met among extension headers, in one number so that the verifier need not follow it: a first
/// fragment of several, a length of 0, a routing header.
const SEEN_FRAGMENT: usize = 1;
const SEEN_JUMBO: usize = 2;
const SEEN_ROUTING: usize = 4;

#[inline(always)]
fn parse_extensions<F: Frame + ?Sized>(
    frame: &F,
    network: usize,
    mut next: u8,
    mut rest: u16,
    wanted: &impl Wanted,
) -> Packet {
    // A jumbogram (RFC 2675), as BIG TCP makes them of ordinary packets, or what says that it is one.
    // Linux goes by the option alone, and without it by the length of the frame (ip6_rcv_core): so the
    // parsing goes on, and no datagram at its end has the length that IP says.
    let mut seen = 0;
    if rest == 0 && next == HOP_BY_HOP {
        rest = u16::MAX;
        seen = SEEN_JUMBO;
    }
    let mut offset = network + size_of::<Ipv6Hdr>();
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(next) {
            break;
        }
        let Some([following, length, high, low]) = frame.load(offset) else {
            return Packet::Cut(Some(Reason::HeaderChain));
        };
        if next == FRAGMENT {
            let field = u16::from_be_bytes([high, low]);
            if field & IPV6_FRAGMENT_OFFSET != 0 {
                return Packet::Foreign;
            }
            // An atomic fragment, with nothing to follow, is a whole packet (RFC 6946).
            seen |= usize::from(field & IPV6_MORE_FRAGMENTS) * SEEN_FRAGMENT;
        }
        seen |= usize::from(next == ROUTING) * SEEN_ROUTING;
        let header = extension_len(next, length);
        let Some(left) = rest.checked_sub(header) else {
            return Packet::Bad(Reason::HeaderChain);
        };
        rest = left;
        offset += usize::from(header);
        next = following;
    }
    // Only behind the chain of another packet can it be that far.
    if is_extension(next) || offset > PAYLOAD_MASK {
        return Packet::Bad(Reason::HeaderChain);
    }
    let offset = frame.mask_opaque(offset, PAYLOAD_MASK);
    let rest = frame.mask_opaque(rest.into(), u16::MAX.into()) as u16;
    let seen = frame.mask_opaque(seen, SEEN_FRAGMENT | SEEN_JUMBO | SEEN_ROUTING);
    let inner = |family| {
        Packet::Inner(pack_inner(Inner {
            family,
            network: offset,
        }))
    };
    match next {
        UDP => {
            let flaw = if seen & SEEN_FRAGMENT != 0 {
                Some(Reason::Fragment)
            } else if seen & SEEN_JUMBO != 0 {
                Some(Reason::Length)
            } else {
                None
            };
            walk_udp(frame, Family::V6, network, offset, rest, flaw, wanted)
        }
        IPV4_INSIDE if seen & SEEN_ROUTING != 0 => inner(Family::V4),
        IPV6_INSIDE if seen & SEEN_ROUTING != 0 => inner(Family::V6),
        _ => Packet::Foreign,
    }
}

/// The headers that a host steps over on its way to UDP. ESP is opaque and ends the parsing.
#[inline(always)]
pub(crate) const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS
    )
}

/// Bytes of an extension header whose own length field says `length`.
#[inline(always)]
pub(crate) const fn extension_len(next: u8, length: u8) -> u16 {
    match next {
        FRAGMENT => 8,
        // Counted in 4-byte units, all but two of them (RFC 4302 section 2.2).
        AUTHENTICATION => (length as u16 + 2) * 4,
        _ => (length as u16 + 1) * 8,
    }
}

/// `rest` is what the IP header says follows it, from the UDP header on; `flaw` is what is wrong with
/// the datagram already.
#[inline(always)]
fn walk_udp<F: Frame + ?Sized>(
    frame: &F,
    family: Family,
    network: usize,
    offset: usize,
    rest: u16,
    flaw: Option<Reason>,
    wanted: &impl Wanted,
) -> Packet {
    // A fragment that hides its ports may be anything once it is reassembled (RFC 7112); what
    // follows the IP packet in the frame is padding, whatever it looks like.
    let unreadable = match flaw {
        Some(Reason::Fragment) => Reason::Fragment,
        _ => Reason::Malformed,
    };
    if rest < size_of::<UdpHdr>() as u16 {
        return Packet::Bad(unreadable);
    }
    let Some(header) = frame.load::<{ size_of::<UdpHdr>() }>(offset) else {
        return Packet::Cut(Some(unreadable));
    };
    let datagram = datagram(&header, family, network, offset, rest, flaw);
    if !wanted.is(&datagram) {
        return Packet::OtherPorts;
    }
    Packet::Datagram(datagram)
}

/// What a UDP header at `offset` says, of which `rest` bytes follow the IP header: at least its own.
#[inline(always)]
pub(crate) const fn datagram(
    header: &[u8],
    family: Family,
    network: usize,
    offset: usize,
    rest: u16,
    flaw: Option<Reason>,
) -> Datagram {
    let is_whole = u16_at(header, offset_of!(UdpHdr, len)) == rest;
    Datagram {
        family,
        network,
        payload: offset + size_of::<UdpHdr>(),
        payload_len: rest - size_of::<UdpHdr>() as u16,
        source_port: u16_at(header, offset_of!(UdpHdr, src)),
        destination_port: u16_at(header, offset_of!(UdpHdr, dst)),
        flaw: match flaw {
            None if !is_whole => Some(Reason::Length),
            flaw => flaw,
        },
    }
}
