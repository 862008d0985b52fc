//! A glance at a frame that leaves: whether it plainly holds no request.
//!
//! Most of what a host sends is not NTP, and for nearly all of that the usual places tell: no tags,
//! options, or extension headers. Whatever looks unusual is left to the walk.

use core::mem::{offset_of, size_of};

use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::{
    frame::Frame,
    ntp,
    packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, PLAIN_IPV4, UDP, is_extension, is_tag},
};

/// Whether a frame is certainly no datagram to the port of servers. A frame of which not all of
/// the headers can be read may be anything.
#[inline(always)]
pub fn is_plainly_foreign<F: Frame + ?Sized>(frame: &F, link: Link) -> bool {
    let plain = match link {
        Link::Ethernet => glance_ethernet(frame),
        Link::RawIp => glance_raw_ip(frame),
    };
    plain.unwrap_or(false)
}

#[inline(always)]
fn glance_ethernet<F: Frame + ?Sized>(frame: &F) -> Option<bool> {
    match frame.load_u16(offset_of!(EthHdr, ether_type))? {
        ETHERTYPE_IPV4 => glance_ipv4(frame, size_of::<EthHdr>()),
        ETHERTYPE_IPV6 => glance_ipv6(frame, size_of::<EthHdr>()),
        other => Some(!is_tag(other)),
    }
}

#[inline(always)]
fn glance_raw_ip<F: Frame + ?Sized>(frame: &F) -> Option<bool> {
    // Two bytes for the reason that the walk has.
    let [first, _] = frame.load(0)?;
    match first >> 4 {
        4 => glance_ipv4(frame, 0),
        6 => glance_ipv6(frame, 0),
        _ => Some(true),
    }
}

#[inline(always)]
fn glance_ipv4<F: Frame + ?Sized>(frame: &F, network: usize) -> Option<bool> {
    let header = frame.load::<{ size_of::<Ipv4Hdr>() }>(network)?;
    if header[offset_of!(Ipv4Hdr, proto)] != UDP {
        return Some(true);
    }
    if header[offset_of!(Ipv4Hdr, vihl)] != PLAIN_IPV4 {
        return None;
    }
    is_to_another_port(frame, network + size_of::<Ipv4Hdr>())
}

#[inline(always)]
fn glance_ipv6<F: Frame + ?Sized>(frame: &F, network: usize) -> Option<bool> {
    let header = frame.load::<{ offset_of!(Ipv6Hdr, src_addr) }>(network)?;
    match header[offset_of!(Ipv6Hdr, next_hdr)] {
        UDP => is_to_another_port(frame, network + size_of::<Ipv6Hdr>()),
        other => Some(!is_extension(other)),
    }
}

#[inline(always)]
fn is_to_another_port<F: Frame + ?Sized>(frame: &F, udp: usize) -> Option<bool> {
    let port = frame.load_u16(udp + offset_of!(UdpHdr, dst))?;
    Some(port != ntp::PORT)
}
