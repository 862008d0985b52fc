//! Sampled verdicts: what the kernel tells of some of the packets that it judges.

use core::mem::offset_of;

use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::wire::{
    address::Address as _,
    frame::Frame,
    ntp::{self, FirstByte, Mode, Timestamp},
    packet::{
        ETHERTYPE_IPV4, ETHERTYPE_IPV6, Family, Link, MAX_EXTENSION_HEADERS, MAX_TAGS,
        NETWORK_MASK, TAG_LEN, UDP, extension_len, is_extension, is_tag,
    },
};

/// The least time between two events of one reason, nanoseconds: some hundred a second, whatever
/// comes.
pub const INTERVAL: u64 = 10_000_000;

/// Bytes of the ring buffer `EVENTS`: 800 events. A power of two, and whole pages of 64 KiB too.
pub const EVENTS_SIZE: usize = 64 << 10;

/// A judged packet: an entry of the ring buffer `EVENTS`.
///
/// The packets of its reason that were judged and not told are the difference to `COUNTERS`.
///
/// Host byte order, addresses as the packet has them. What could not be read is zero, which
/// [`Self::depth`] tells from what is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// When it was judged, nanoseconds of monotonic time (`CLOCK_MONOTONIC`), as of the last tick.
    pub time: u64,
    /// Where it comes from; IPv4 as IPv4-mapped.
    pub source: [u8; 16],
    /// Where it goes, likewise.
    pub destination: [u8; 16],
    /// Why it was admitted or dropped: the number of a [`Reason`](crate::reason::Reason).
    pub reason: u32,
    /// The index of the interface that it arrived on.
    pub interface: u32,
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Bytes of UDP payload, as the UDP header says.
    pub payload_len: u16,
    /// The first byte of the payload: leap indicator, version and mode.
    pub first: u8,
    /// How much could be read: [`NOTHING`], [`ADDRESSES`], [`PORTS`] or [`PAYLOAD`].
    pub depth: u8,
    /// The origin timestamp of a message of modes 0 to 5, all of which is there; else zero.
    pub origin: Timestamp,
    /// 0 enforced, 1 monitored: its place in `COUNTERS`.
    pub mode: u32,
    /// Keeps the size a multiple of the alignment.
    pub reserved: u32,
}

/// The [`Event::depth`] of a frame whose addresses could not be read.
pub const NOTHING: u8 = 0;
/// That of one with addresses and no more.
pub const ADDRESSES: u8 = 1;
/// That of one with a UDP header, and nothing behind it.
pub const PORTS: u8 = 2;
/// That of one with at least a byte of payload.
pub const PAYLOAD: u8 = 3;

const _: () = assert!(size_of::<Event>() == 72);

/// Reads from a frame, which may be wrong in any way, as much as there is for an event that says
/// nothing of it yet.
#[inline(always)]
pub fn describe<F: Frame + ?Sized>(frame: &F, link: Link, event: &mut Event) {
    let udp = match network(frame, link) {
        Some((Family::V4, offset)) => describe_ipv4(frame, offset, event),
        Some((Family::V6, offset)) => describe_ipv6(frame, offset, event),
        None => None,
    };
    if let Some(offset) = udp {
        describe_udp(frame, offset, event);
    }
}

/// Where the IP header is.
#[inline(always)]
fn network<F: Frame + ?Sized>(frame: &F, link: Link) -> Option<(Family, usize)> {
    if link == Link::RawIp {
        let [byte, _]: [u8; 2] = frame.load(0)?;
        return match byte >> 4 {
            4 => Some((Family::V4, 0)),
            6 => Some((Family::V6, 0)),
            _ => None,
        };
    }
    let mut offset = size_of::<EthHdr>();
    let mut ether_type = frame.load_u16(offset_of!(EthHdr, ether_type))?;
    for _ in 0..MAX_TAGS {
        if !is_tag(ether_type) {
            break;
        }
        ether_type = frame.load_u16(offset + 2)?;
        offset += TAG_LEN;
    }
    match ether_type {
        ETHERTYPE_IPV4 => Some((Family::V4, frame.mask_opaque(offset, NETWORK_MASK))),
        ETHERTYPE_IPV6 => Some((Family::V6, frame.mask_opaque(offset, NETWORK_MASK))),
        _ => None,
    }
}

/// Reads the addresses, and tells where a UDP header would be.
#[inline(always)]
fn describe_ipv4<F: Frame + ?Sized>(frame: &F, network: usize, event: &mut Event) -> Option<usize> {
    let source: [u8; 4] = frame.load(network + offset_of!(Ipv4Hdr, src_addr))?;
    let destination: [u8; 4] = frame.load(network + offset_of!(Ipv4Hdr, dst_addr))?;
    event.source = source.mapped();
    event.destination = destination.mapped();
    event.depth = ADDRESSES;
    let vihl = frame.load_u8(network + offset_of!(Ipv4Hdr, vihl))?;
    Some(network + usize::from(vihl & 0x0f) * 4)
}

/// The same behind extension headers.
#[inline(always)]
fn describe_ipv6<F: Frame + ?Sized>(frame: &F, network: usize, event: &mut Event) -> Option<usize> {
    event.destination = frame.load(network + offset_of!(Ipv6Hdr, dst_addr))?;
    event.source = frame.load(network + offset_of!(Ipv6Hdr, src_addr))?;
    event.depth = ADDRESSES;
    let mut next = frame.load_u8(network + offset_of!(Ipv6Hdr, next_hdr))?;
    let mut offset = network + size_of::<Ipv6Hdr>();
    for _ in 0..MAX_EXTENSION_HEADERS {
        if !is_extension(next) {
            break;
        }
        let [following, length] = frame.load(offset)?;
        offset += usize::from(extension_len(next, length));
        next = following;
    }
    (next == UDP).then_some(offset)
}

#[inline(always)]
fn describe_udp<F: Frame + ?Sized>(frame: &F, offset: usize, event: &mut Event) {
    let Some([a, b, c, d, high, low, _, _]) = frame.load(offset) else {
        return;
    };
    event.source_port = u16::from_be_bytes([a, b]);
    event.destination_port = u16::from_be_bytes([c, d]);
    let length = u16::from_be_bytes([high, low]);
    event.payload_len = length.saturating_sub(size_of::<UdpHdr>() as u16);
    event.depth = PORTS;
    if event.payload_len == 0 {
        return;
    }
    let payload = offset + size_of::<UdpHdr>();
    let Some(first) = frame.load_u8(payload) else {
        return;
    };
    event.first = first;
    event.depth = PAYLOAD;
    if !matches!(FirstByte(first).mode(), Mode::Control | Mode::Private)
        && let Some(origin) = frame.load(payload + ntp::ORIGIN)
    {
        event.origin = origin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures,
        wire::{
            address::Address,
            packet::{Datagram, OnNtpPort, Packet, parse},
        },
    };

    fn described(frame: &[u8], link: Link) -> Event {
        let mut event = Event::default();
        describe(frame, link, &mut event);
        event
    }

    /// What an event has to say of a datagram that the parser finds.
    fn expected(frame: &[u8], datagram: &Datagram) -> Event {
        let [source, destination] = match datagram.family {
            Family::V4 => [
                <[u8; 4]>::source(frame, datagram).mapped(),
                <[u8; 4]>::destination(frame, datagram).mapped(),
            ],
            Family::V6 => [
                <[u8; 16]>::source(frame, datagram),
                <[u8; 16]>::destination(frame, datagram),
            ],
        };
        let payload = frame
            .get(datagram.payload..)
            .filter(|_| datagram.payload_len > 0);
        let first = payload.and_then(|payload| payload.first());
        let has_origin = first.is_some_and(|first| first & 7 < 6);
        let origin = payload.and_then(|payload| payload.get(24..32));
        Event {
            source,
            destination,
            source_port: datagram.source_port,
            destination_port: datagram.destination_port,
            payload_len: datagram.payload_len,
            first: first.copied().unwrap_or(0),
            origin: origin
                .filter(|_| has_origin)
                .map_or([0; 8], |origin| origin.try_into().unwrap()),
            depth: if first.is_some() { PAYLOAD } else { PORTS },
            ..Event::default()
        }
    }

    #[test]
    fn an_event_tells_of_the_datagram_that_is_judged() {
        let mut datagrams = 0;
        for fixture in fixtures::all() {
            let parsed = parse(&fixture.frame[..], fixture.link, &OnNtpPort);
            if let Packet::Datagram(datagram) = parsed
                && datagram.flaw.is_none()
            {
                let event = described(&fixture.frame[..], fixture.link);
                assert_eq!(
                    event,
                    expected(&fixture.frame, &datagram),
                    "{}",
                    fixture.name
                );
                datagrams += 1;
            }
        }
        assert!(datagrams > 100, "{datagrams} datagrams");
    }

    /// What is wrong in itself has no datagram, and mostly somebody who sent it.
    #[test]
    fn what_is_bad_is_told_with_its_addresses() {
        let mut depths = [0; 4];
        for fixture in fixtures::all() {
            if let Packet::Bad(_) = parse(&fixture.frame[..], fixture.link, &OnNtpPort) {
                let event = described(&fixture.frame[..], fixture.link);
                let has_tags = is_tag(fixture.frame[..].load_u16(12).unwrap());
                let is_cut_off = fixture.frame.len() < size_of::<EthHdr>() + size_of::<Ipv6Hdr>();
                let may_hide = has_tags || is_cut_off;
                assert!(event.depth > NOTHING || may_hide, "{}", fixture.name);
                assert_eq!(event.depth > NOTHING, event.source != [0; 16]);
                depths[usize::from(event.depth)] += 1;
            }
        }
        assert!(!depths.contains(&0), "{depths:?}");
    }

    #[test]
    fn any_bytes_can_be_told_of() {
        for fixture in fixtures::all() {
            for link in [Link::Ethernet, Link::RawIp] {
                for length in 0..fixture.frame.len() {
                    let event = described(&fixture.frame[..length], link);
                    assert!(event.depth <= PAYLOAD);
                }
            }
        }
    }
}
