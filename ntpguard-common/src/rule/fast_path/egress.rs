//! The fast path of a frame that leaves: whether it plainly holds no request.

use core::mem::{offset_of, size_of};

use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::{
    maps::endpoint::CustomPorts,
    wire::{
        frame::Frame,
        packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, PLAIN_IPV4, UDP, is_extension, is_tag},
    },
};

/// Whether a frame is certainly no datagram to a port at which servers are asked. A frame of which
/// not all of the headers can be read may be anything.
#[inline(always)]
pub fn is_plainly_foreign<F, T>(frame: &F, link: Link, tables: &T) -> bool
where
    F: Frame + ?Sized,
    T: CustomPorts,
{
    let found = match link {
        Link::Ethernet => glance_ethernet(frame),
        Link::RawIp => glance_raw_ip(frame),
    };
    match found {
        FastFrame::NotUdp => true,
        FastFrame::Udp(offset) => frame
            .load_u16(offset + offset_of!(UdpHdr, dst))
            .is_some_and(|port| !tables.may_serve_at(port)),
        FastFrame::Unusual => false,
    }
}

/// What is at the usual places.
enum FastFrame {
    /// No UDP.
    NotUdp,
    /// A UDP header, if it is there, so many bytes from the start of the frame.
    Udp(usize),
    /// Something that only the parser can say.
    Unusual,
}

#[inline(always)]
fn glance_ethernet<F: Frame + ?Sized>(frame: &F) -> FastFrame {
    match frame.load_u16(offset_of!(EthHdr, ether_type)) {
        Some(ETHERTYPE_IPV4) => glance_ipv4(frame, size_of::<EthHdr>()),
        Some(ETHERTYPE_IPV6) => glance_ipv6(frame, size_of::<EthHdr>()),
        Some(other) if !is_tag(other) => FastFrame::NotUdp,
        _ => FastFrame::Unusual,
    }
}

#[inline(always)]
fn glance_raw_ip<F: Frame + ?Sized>(frame: &F) -> FastFrame {
    // Two bytes for the reason that the parser has.
    match frame.load(0).map(|[first, _]: [u8; 2]| first >> 4) {
        Some(4) => glance_ipv4(frame, 0),
        Some(6) => glance_ipv6(frame, 0),
        Some(_) => FastFrame::NotUdp,
        None => FastFrame::Unusual,
    }
}

#[inline(always)]
fn glance_ipv4<F: Frame + ?Sized>(frame: &F, network: usize) -> FastFrame {
    let Some(header) = frame.load::<{ size_of::<Ipv4Hdr>() }>(network) else {
        return FastFrame::Unusual;
    };
    if header[offset_of!(Ipv4Hdr, proto)] != UDP {
        return FastFrame::NotUdp;
    }
    if header[offset_of!(Ipv4Hdr, vihl)] != PLAIN_IPV4 {
        return FastFrame::Unusual;
    }
    FastFrame::Udp(network + size_of::<Ipv4Hdr>())
}

#[inline(always)]
fn glance_ipv6<F: Frame + ?Sized>(frame: &F, network: usize) -> FastFrame {
    let Some(header) = frame.load::<{ offset_of!(Ipv6Hdr, src_addr) }>(network) else {
        return FastFrame::Unusual;
    };
    match header[offset_of!(Ipv6Hdr, next_hdr)] {
        UDP => FastFrame::Udp(network + size_of::<Ipv6Hdr>()),
        other if is_extension(other) => FastFrame::Unusual,
        _ => FastFrame::NotUdp,
    }
}
