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
    elsewhere::Elsewhere,
    frame::Frame,
    ntp,
    packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Link, PLAIN_IPV4, UDP, is_extension, is_tag},
};

/// Whether a frame is certainly no datagram to a port at which servers are asked. A frame of which not all of
/// the headers can be read may be anything.
#[inline(always)]
pub fn is_plainly_foreign<F, T>(frame: &F, link: Link, tables: &T) -> bool
where
    F: Frame + ?Sized,
    T: Elsewhere,
{
    let plain = match link {
        Link::Ethernet => glance_ethernet(frame, tables),
        Link::RawIp => glance_raw_ip(frame, tables),
    };
    plain.unwrap_or(false)
}

#[inline(always)]
fn glance_ethernet<F, T>(frame: &F, tables: &T) -> Option<bool>
where
    F: Frame + ?Sized,
    T: Elsewhere,
{
    match frame.load_u16(offset_of!(EthHdr, ether_type))? {
        ETHERTYPE_IPV4 => glance_ipv4(frame, size_of::<EthHdr>(), tables),
        ETHERTYPE_IPV6 => glance_ipv6(frame, size_of::<EthHdr>(), tables),
        other => Some(!is_tag(other)),
    }
}

#[inline(always)]
fn glance_raw_ip<F, T>(frame: &F, tables: &T) -> Option<bool>
where
    F: Frame + ?Sized,
    T: Elsewhere,
{
    // Two bytes for the reason that the walk has.
    let [first, _] = frame.load(0)?;
    match first >> 4 {
        4 => glance_ipv4(frame, 0, tables),
        6 => glance_ipv6(frame, 0, tables),
        _ => Some(true),
    }
}

#[inline(always)]
fn glance_ipv4<F, T>(frame: &F, network: usize, tables: &T) -> Option<bool>
where
    F: Frame + ?Sized,
    T: Elsewhere,
{
    let header = frame.load::<{ size_of::<Ipv4Hdr>() }>(network)?;
    if header[offset_of!(Ipv4Hdr, proto)] != UDP {
        return Some(true);
    }
    if header[offset_of!(Ipv4Hdr, vihl)] != PLAIN_IPV4 {
        return None;
    }
    is_to_another_port(frame, network + size_of::<Ipv4Hdr>(), tables)
}

#[inline(always)]
fn glance_ipv6<F, T>(frame: &F, network: usize, tables: &T) -> Option<bool>
where
    F: Frame + ?Sized,
    T: Elsewhere,
{
    let header = frame.load::<{ offset_of!(Ipv6Hdr, src_addr) }>(network)?;
    match header[offset_of!(Ipv6Hdr, next_hdr)] {
        UDP => is_to_another_port(frame, network + size_of::<Ipv6Hdr>(), tables),
        other => Some(!is_extension(other)),
    }
}

#[inline(always)]
fn is_to_another_port<F, T>(frame: &F, udp: usize, tables: &T) -> Option<bool>
where
    F: Frame + ?Sized,
    T: Elsewhere,
{
    let port = frame.load_u16(udp + offset_of!(UdpHdr, dst))?;
    Some(port != ntp::PORT && !tables.may_be_asked_at(port))
}
