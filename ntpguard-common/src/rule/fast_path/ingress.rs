//! The fast path of a frame that arrives: whose business it plainly is.

use core::mem::{offset_of, size_of};

use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::{
    maps::lookup::{Tables, TablesOf},
    rule::classify::{FirstBytes, PacketClass, plain_class},
    wire::{
        address::Address,
        frame::{Frame, Window},
        ntp::{self, FirstByte, Mode},
        packet::{
            Datagram, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Family, IPV4_FRAGMENT_OFFSET,
            IPV4_MORE_FRAGMENTS, IPV6_VERSION, Link, PLAIN_IPV4, UDP, datagram, is_extension,
            is_tag, u16_at,
        },
    },
};

/// What a frame that arrives plainly is: what [`judge`](crate::rule::judge::judge) would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arriving {
    /// None of the guard's business.
    Foreign,
    /// A request or a reply from an address of which nothing is known.
    Stranger,
    /// A packet of mode 7.
    Private,
    /// A request or a reply from an address of which something may be known: [`known`] has it.
    Known,
    /// Something that only the parser can say.
    Unusual,
}

/// Bytes of both headers, where neither has options.
const OVER_IPV4: usize = size_of::<Ipv4Hdr>() + size_of::<UdpHdr>();
const OVER_IPV6: usize = size_of::<Ipv6Hdr>() + size_of::<UdpHdr>();

/// Takes the fast path.
#[inline(always)]
pub fn arriving<F, T>(frame: &F, link: Link, tables: &T) -> Arriving
where
    F: Frame + ?Sized,
    T: Tables,
{
    match link {
        Link::Ethernet => ethernet(frame, tables),
        Link::RawIp => raw_ip(frame, tables),
    }
}

#[inline(always)]
fn ethernet<F: Frame + ?Sized, T: Tables>(frame: &F, tables: &T) -> Arriving {
    const IP: usize = size_of::<EthHdr>();
    let Some(headers) = frame.window::<{ IP + OVER_IPV4 }>(0) else {
        return Arriving::Unusual;
    };
    match headers.number(offset_of!(EthHdr, ether_type)) {
        ETHERTYPE_IPV4 => ipv4(frame, &headers, IP, tables),
        ETHERTYPE_IPV6 => match frame.window::<{ IP + OVER_IPV6 }>(0) {
            Some(headers) => ipv6(frame, &headers, IP, tables),
            None => Arriving::Unusual,
        },
        other if is_tag(other) => Arriving::Unusual,
        _ => Arriving::Foreign,
    }
}

#[inline(always)]
fn raw_ip<F: Frame + ?Sized, T: Tables>(frame: &F, tables: &T) -> Arriving {
    let Some(headers) = frame.window::<OVER_IPV4>(0) else {
        return Arriving::Unusual;
    };
    match headers.byte(offset_of!(Ipv4Hdr, vihl)) >> 4 {
        4 => ipv4(frame, &headers, 0, tables),
        6 => match frame.window::<OVER_IPV6>(0) {
            Some(headers) => ipv6(frame, &headers, 0, tables),
            None => Arriving::Unusual,
        },
        _ => Arriving::Foreign,
    }
}

#[inline(always)]
fn ipv4<F, W, T>(frame: &F, headers: &W, ip: usize, tables: &T) -> Arriving
where
    F: Frame + ?Sized,
    W: Window,
    T: Tables,
{
    if headers.byte(ip + offset_of!(Ipv4Hdr, proto)) != UDP {
        return Arriving::Foreign;
    }
    let is_plain = headers.byte(ip + offset_of!(Ipv4Hdr, vihl)) == PLAIN_IPV4;
    let fragment = headers.number(ip + offset_of!(Ipv4Hdr, frags));
    if !is_plain || fragment & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET) != 0 {
        return Arriving::Unusual;
    }
    let total = headers.number(ip + offset_of!(Ipv4Hdr, tot_len));
    let udp = Udp {
        headers,
        at: ip + size_of::<Ipv4Hdr>(),
        rest: usize::from(total).cast_signed() - size_of::<Ipv4Hdr>().cast_signed(),
    };
    let source: [u8; 4] = headers.bytes(ip + offset_of!(Ipv4Hdr, src_addr));
    settle(frame, &udp, source, tables)
}

#[inline(always)]
fn ipv6<F, W, T>(frame: &F, headers: &W, ip: usize, tables: &T) -> Arriving
where
    F: Frame + ?Sized,
    W: Window,
    T: Tables,
{
    match headers.byte(ip + offset_of!(Ipv6Hdr, next_hdr)) {
        UDP => {}
        other if is_extension(other) => return Arriving::Unusual,
        _ => return Arriving::Foreign,
    }
    if headers.byte(ip) >> 4 != IPV6_VERSION {
        return Arriving::Unusual;
    }
    let rest = headers.number(ip + offset_of!(Ipv6Hdr, payload_len));
    let udp = Udp {
        headers,
        at: ip + size_of::<Ipv6Hdr>(),
        rest: usize::from(rest).cast_signed(),
    };
    let source: [u8; 16] = headers.bytes(ip + offset_of!(Ipv6Hdr, src_addr));
    settle(frame, &udp, source, tables)
}

/// A UDP header at the usual place.
struct Udp<'a, W> {
    /// The frame's headers.
    headers: &'a W,
    /// Where in the frame this one is.
    at: usize,
    /// Bytes from here to where IP says that the packet ends: below 0 where that is in IP's own header.
    rest: isize,
}

const UDP_LEN: isize = size_of::<UdpHdr>().cast_signed();
const NTP_LEN: isize = ntp::HEADER_LEN.cast_signed();

/// What a datagram is that stands at the usual place.
#[inline(always)]
fn settle<A, F, W, T>(frame: &F, udp: &Udp<'_, W>, source: A, tables: &T) -> Arriving
where
    A: Address,
    F: Frame + ?Sized,
    W: Window,
    T: TablesOf<A>,
{
    let source_port = udp.headers.number(udp.at + offset_of!(UdpHdr, src));
    let from_ntp = source_port == ntp::PORT;
    let to_ntp = udp.headers.number(udp.at + offset_of!(UdpHdr, dst)) == ntp::PORT;
    if !from_ntp && tables.may_be_asked_at(source_port) {
        return Arriving::Unusual;
    }
    let Some(plain) = FirstBytes::between(from_ntp, to_ntp) else {
        return if udp.rest < UDP_LEN {
            Arriving::Unusual
        } else {
            Arriving::Foreign
        };
    };
    if frame.is_coalesced() {
        return Arriving::Unusual;
    }
    let length = udp.headers.number(udp.at + offset_of!(UdpHdr, len));
    if udp.rest != usize::from(length).cast_signed() || udp.rest < UDP_LEN + NTP_LEN {
        return Arriving::Unusual;
    }
    let Some(header) = frame.window::<{ ntp::HEADER_LEN }>(udp.at + size_of::<UdpHdr>()) else {
        return Arriving::Unusual;
    };
    let first = FirstByte(header.byte(0));
    if !plain.has(first) {
        return match first.mode() {
            Mode::Private => Arriving::Private,
            _ => Arriving::Unusual,
        };
    }
    // What a trusted sender asked for lets nobody ask us.
    let is_reply = first.mode() == Mode::Server;
    if tables.may_grant(source) || is_reply && tables.may_trust(source) {
        Arriving::Known
    } else {
        Arriving::Stranger
    }
}

/// The datagram at the usual place and its class, where the fast path found [`Arriving::Known`].
///
/// It is read again for that: kept while the tables are asked, it would cost strangers.
#[inline(always)]
pub fn known<F: Frame + ?Sized>(frame: &F, link: Link) -> (Datagram, PacketClass) {
    let network = match link {
        Link::Ethernet => size_of::<EthHdr>(),
        Link::RawIp => 0,
    };
    let [vihl, _] = frame.field(network);
    let (family, udp) = if vihl == PLAIN_IPV4 {
        (Family::V4, network + size_of::<Ipv4Hdr>())
    } else {
        (Family::V6, network + size_of::<Ipv6Hdr>())
    };
    let header: [u8; size_of::<UdpHdr>()] = frame.field(udp);
    let payload = udp + size_of::<UdpHdr>();
    let rest = u16_at(&header, offset_of!(UdpHdr, len));
    let [first, _] = frame.field(payload);
    (
        datagram(&header, family, network, udp, rest, None),
        plain_class(FirstByte(first)),
    )
}
