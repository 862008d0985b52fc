//! Frames made by hand: forged sources, fragments, VLAN tags.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail, ensure};
use etherparse::{
    IpFragOffset, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6FragmentHeader, Ipv6Header, UdpHeader,
};

const HOPS: u8 = 64;

/// The identification of fragmented packets; one is enough where packets do not mix.
const IDENTIFICATION: u16 = 0x4e47;

/// An Ethernet header with VLAN tags.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<'a> {
    /// The sender's address.
    pub from: [u8; 6],
    /// The receiver's address.
    pub to: [u8; 6],
    /// Tags from the outermost in: the EtherType that announces each (0x8100, 0x88a8), and its
    /// VLAN's number.
    pub tags: &'a [(u16, u16)],
}

impl Ethernet<'_> {
    /// Puts this header before an IP packet.
    pub fn wrap(&self, packet: &[u8]) -> Vec<u8> {
        let mut frame = [self.to, self.from].concat();
        for (announced, vlan) in self.tags {
            frame.extend(announced.to_be_bytes());
            frame.extend(vlan.to_be_bytes());
        }
        let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
        let ether_type: u16 = if is_v6 { 0x86dd } else { 0x0800 };
        frame.extend(ether_type.to_be_bytes());
        frame.extend(packet);
        frame
    }
}

/// An IP packet with a UDP datagram, whole, with right checksums, from any source.
///
/// # Errors
///
/// When the addresses are of two families or the payload is too long.
pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Result<Vec<u8>> {
    let datagram = datagram(from, to, payload)?;
    piece(from.ip(), to.ip(), &datagram, None)
}

/// The fragments of such a packet, of which each but the last carries `len` bytes of UDP header
/// and payload.
///
/// # Errors
///
/// As for [`udp`], and when `len` is no multiple of 8 above 0.
pub fn udp_fragments(
    from: SocketAddr,
    to: SocketAddr,
    payload: &[u8],
    len: usize,
) -> Result<Vec<Vec<u8>>> {
    ensure!(
        len > 0 && len.is_multiple_of(8),
        "fragments carry multiples of 8 bytes, not {len}"
    );
    let datagram = datagram(from, to, payload)?;
    let pieces = datagram.chunks(len).enumerate().map(|(number, part)| {
        let place = Place {
            offset: IpFragOffset::try_new(u16::try_from(number * len / 8)?)?,
            more: (number + 1) * len < datagram.len(),
        };
        piece(from.ip(), to.ip(), part, Some(place))
    });
    pieces.collect()
}

/// Where a fragment belongs.
#[derive(Clone, Copy)]
struct Place {
    offset: IpFragOffset,
    more: bool,
}

fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Result<Vec<u8>> {
    let (source, destination) = (from.port(), to.port());
    let header = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => UdpHeader::with_ipv4_checksum(
            source,
            destination,
            &Ipv4Header::new(0, HOPS, IpNumber::UDP, from.octets(), to.octets())?,
            payload,
        )?,
        (IpAddr::V6(from), IpAddr::V6(to)) => UdpHeader::with_ipv6_checksum(
            source,
            destination,
            &v6_header(from.octets(), to.octets(), 0, IpNumber::UDP),
            payload,
        )?,
        _ => bail!("{from} and {to} are of two families"),
    };
    Ok([&header.to_bytes()[..], payload].concat())
}

fn piece(from: IpAddr, to: IpAddr, part: &[u8], place: Option<Place>) -> Result<Vec<u8>> {
    let len = u16::try_from(part.len())?;
    let mut packet = Vec::new();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header = Ipv4Header::new(len, HOPS, IpNumber::UDP, from.octets(), to.octets())?;
            if let Some(place) = place {
                header.dont_fragment = false;
                header.identification = IDENTIFICATION;
                header.fragment_offset = place.offset;
                header.more_fragments = place.more;
            }
            header.header_checksum = header.calc_header_checksum();
            header.write(&mut packet)?;
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => match place {
            None => v6_header(from.octets(), to.octets(), len, IpNumber::UDP).write(&mut packet)?,
            Some(place) => {
                let fragment = Ipv6FragmentHeader::new(
                    IpNumber::UDP,
                    place.offset,
                    place.more,
                    u32::from(IDENTIFICATION),
                );
                let len = len + u16::try_from(Ipv6FragmentHeader::LEN)?;
                let next = IpNumber::IPV6_FRAGMENTATION_HEADER;
                v6_header(from.octets(), to.octets(), len, next).write(&mut packet)?;
                fragment.write(&mut packet)?;
            }
        },
        _ => bail!("{from} and {to} are of two families"),
    }
    packet.extend(part);
    Ok(packet)
}

fn v6_header(from: [u8; 16], to: [u8; 16], len: u16, next: IpNumber) -> Ipv6Header {
    Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: len,
        next_header: next,
        hop_limit: HOPS,
        source: from,
        destination: to,
    }
}
