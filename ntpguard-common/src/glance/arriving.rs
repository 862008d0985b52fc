//! A glance at a frame that arrives: whose business it plainly is.

use core::mem::{offset_of, size_of};

use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::{
    frame::Frame,
    judge::{Tables, TablesOf},
    ntp::{self, FirstByte, Mode},
    packet::{
        Address, Datagram, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Family, IPV4_FRAGMENT_OFFSET,
        IPV4_MORE_FRAGMENTS, Link, PLAIN_IPV4, UDP, datagram, is_extension, is_tag, u16_at,
    },
    part::{Part, is_plain, plain_part},
};

/// What a frame that arrives plainly is: what [`judge`](crate::judge::judge) would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arriving {
    /// None of the guard's business.
    Foreign,
    /// A request or a reply from an address of which nothing is known.
    Stranger,
    /// A packet of mode 7.
    Private,
    /// A request or a reply from an address of which something may be known.
    Known(Datagram, Part),
    /// Something that only the walk can tell.
    Unusual,
}

/// Bytes of both headers, where neither has options.
const OVER_IPV4: usize = size_of::<Ipv4Hdr>() + size_of::<UdpHdr>();
const OVER_IPV6: usize = size_of::<Ipv6Hdr>() + size_of::<UdpHdr>();

/// Glances at a frame.
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
    match frame.load_u16(offset_of!(EthHdr, ether_type)) {
        Some(ETHERTYPE_IPV4) => ipv4(frame, size_of::<EthHdr>(), tables),
        Some(ETHERTYPE_IPV6) => ipv6(frame, size_of::<EthHdr>(), tables),
        Some(other) if is_tag(other) => Arriving::Unusual,
        _ => Arriving::Foreign,
    }
}

#[inline(always)]
fn raw_ip<F: Frame + ?Sized, T: Tables>(frame: &F, tables: &T) -> Arriving {
    // Two bytes for the reason that the walk has.
    match frame.load(0).map(|[first, _]: [u8; 2]| first >> 4) {
        Some(4) => ipv4(frame, 0, tables),
        Some(6) => ipv6(frame, 0, tables),
        _ => Arriving::Foreign,
    }
}

#[inline(always)]
fn ipv4<F: Frame + ?Sized, T: Tables>(frame: &F, network: usize, tables: &T) -> Arriving {
    let Some(headers) = frame.load::<OVER_IPV4>(network) else {
        return Arriving::Unusual;
    };
    if headers[offset_of!(Ipv4Hdr, proto)] != UDP {
        return Arriving::Foreign;
    }
    let is_plain = headers[offset_of!(Ipv4Hdr, vihl)] == PLAIN_IPV4;
    let fragment = u16_at(&headers, offset_of!(Ipv4Hdr, frags));
    if !is_plain || fragment & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET) != 0 {
        return Arriving::Unusual;
    }
    let total = u16_at(&headers, offset_of!(Ipv4Hdr, tot_len));
    if usize::from(total) < OVER_IPV4 {
        return Arriving::Unusual;
    }
    let (ip, udp) = headers.split_at(size_of::<Ipv4Hdr>());
    let rest = total - size_of::<Ipv4Hdr>() as u16;
    let offset = network + size_of::<Ipv4Hdr>();
    let datagram = datagram(udp, Family::V4, network, offset, rest, false);
    match address_at::<4>(ip, offset_of!(Ipv4Hdr, src_addr)) {
        Some(source) => settle(frame, &datagram, source, tables),
        None => Arriving::Unusual,
    }
}

#[inline(always)]
fn ipv6<F: Frame + ?Sized, T: Tables>(frame: &F, network: usize, tables: &T) -> Arriving {
    let Some(headers) = frame.load::<OVER_IPV6>(network) else {
        return Arriving::Unusual;
    };
    match headers[offset_of!(Ipv6Hdr, next_hdr)] {
        UDP => {}
        other if is_extension(other) => return Arriving::Unusual,
        _ => return Arriving::Foreign,
    }
    let rest = u16_at(&headers, offset_of!(Ipv6Hdr, payload_len));
    if usize::from(rest) < size_of::<UdpHdr>() {
        return Arriving::Unusual;
    }
    let (ip, udp) = headers.split_at(size_of::<Ipv6Hdr>());
    let offset = network + size_of::<Ipv6Hdr>();
    let datagram = datagram(udp, Family::V6, network, offset, rest, false);
    match address_at::<16>(ip, offset_of!(Ipv6Hdr, src_addr)) {
        Some(source) => settle(frame, &datagram, source, tables),
        None => Arriving::Unusual,
    }
}

#[inline(always)]
fn address_at<const N: usize>(header: &[u8], offset: usize) -> Option<[u8; N]> {
    header.get(offset..)?.first_chunk().copied()
}

/// What a datagram is that stands at the usual place.
#[inline(always)]
fn settle<A, F, T>(frame: &F, datagram: &Datagram, source: A, tables: &T) -> Arriving
where
    A: Address,
    F: Frame + ?Sized,
    T: TablesOf<A>,
{
    let from_ntp = datagram.source_port == ntp::PORT;
    let to_ntp = datagram.destination_port == ntp::PORT;
    if !from_ntp && tables.may_be_asked_at(datagram.source_port) {
        return Arriving::Unusual;
    }
    if !from_ntp && !to_ntp {
        return Arriving::Foreign;
    }
    if datagram.flaw.is_some() || usize::from(datagram.payload_len) < ntp::HEADER_LEN {
        return Arriving::Unusual;
    }
    let Some([first, ..]) = frame.load::<{ ntp::HEADER_LEN }>(datagram.payload) else {
        return Arriving::Unusual;
    };
    let first = FirstByte(first);
    if !is_plain(first, from_ntp, to_ntp) {
        return match first.mode() {
            Mode::Private => Arriving::Private,
            _ => Arriving::Unusual,
        };
    }
    if tables.may_know(source) {
        Arriving::Known(*datagram, plain_part(first))
    } else {
        Arriving::Stranger
    }
}
