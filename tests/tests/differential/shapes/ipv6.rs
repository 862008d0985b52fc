//! IPv6 with chains of extension headers, whole or in fragments.

use std::net::IpAddr;

use super::{
    Maker,
    datagram::{UDP, fill_checksum},
};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;
const IPV4_INSIDE: u8 = 4;
const IPV6_INSIDE: u8 = 41;
/// More headers than the guard steps over.
const MOST: usize = 8;
const MORE_FRAGMENTS: u16 = 1;

/// A header of a chain: its kind, and what it holds behind its first byte, which names the next.
type Header = (u8, Vec<u8>);

impl Maker<'_> {
    pub(super) fn ipv6(&mut self) -> (IpAddr, Vec<Vec<u8>>) {
        let from = self.source_v6();
        let ends = [from.octets(), self.lab.inside.v6.octets()];
        let mut datagram = self.datagram();
        if !self.rarely(60, "UDP checksum") {
            fill_checksum(&mut datagram, ends[0], ends[1]);
        }
        let chain = self.chain();
        let packets = if self.rarely(8, "IPv6 fragments") {
            self.ipv6_fragments(ends, &chain, &datagram)
        } else if self.rarely(30, "a packet inside") {
            vec![self.inside(ends, &datagram)]
        } else {
            vec![self.ipv6_packet(ends, &chain, UDP, &datagram)]
        };
        (from.into(), packets)
    }

    fn chain(&mut self) -> Vec<Header> {
        let mut chain = Vec::new();
        if self.rarely(4, "hop-by-hop") {
            let options = self.options();
            chain.push((HOP_BY_HOP, options));
        }
        if self.rarely(3, "extension headers") {
            for _ in 0..self.random.usize(1..=MOST) {
                let header = self.header();
                chain.push(header);
            }
        }
        chain
    }

    fn header(&mut self) -> Header {
        match self.random.u8(..20) {
            0 => (HOP_BY_HOP, self.options()),
            1..=4 => (ROUTING, self.routing()),
            5 => (FRAGMENT, self.fragment_field()),
            6 => (FRAGMENT, vec![0; 7]),
            7 => {
                let mut header = vec![4];
                header.extend(self.bytes(22));
                (AUTHENTICATION, header)
            }
            8 => (self.random.u8(..), self.bytes(7)),
            9 => (NO_NEXT_HEADER, vec![0; 7]),
            _ => (DESTINATION_OPTIONS, self.options()),
        }
    }

    /// Padding in most cases (RFC 8200 section 4.2).
    fn options(&mut self) -> Vec<u8> {
        let words = self.random.u8(..3);
        let length = usize::from(words) * 8 + 6;
        let mut header = vec![words];
        match self.random.u8(..12) {
            0 => header.extend(self.bytes(length)),
            // A jumbogram's length (RFC 2675), or a router alert (RFC 2711), padded.
            1 => {
                header.extend([0xc2, 4]);
                let jumbo = self.one(&[0_u32, 56, 65_535, 65_536, u32::MAX]);
                header.extend(jumbo.to_be_bytes());
                header.resize(length + 1, 0);
            }
            2 => {
                header.extend([5, 2, 0, 0]);
                header.resize(length + 1, 0);
            }
            3 => header.resize(length + 1, 0),
            // One that hosts skip if they do not know it.
            4 | 5 => {
                header.extend([0x1e, (length - 2) as u8]);
                header.resize(length + 1, 0);
            }
            _ => {
                header.extend([1, (length - 2) as u8]);
                header.resize(length + 1, 0);
            }
        }
        header
    }

    /// A routing header with nothing left to visit, in most cases.
    fn routing(&mut self) -> Vec<u8> {
        let kind = self.one(&[0, 2, 3, 4, 4, 200]);
        let left = u8::from(self.random.u8(..6) == 0);
        let words = self.one(&[0, 2, 2]);
        let mut header = vec![words, kind, left];
        header.extend(self.bytes(usize::from(words) * 8 + 4));
        header
    }

    fn fragment_field(&mut self) -> Vec<u8> {
        let mut header = vec![0];
        header.extend(self.bytes(6));
        header
    }

    /// A packet behind a routing header, which some hosts take out (RFC 8986, RFC 6554), or with nothing
    /// between.
    fn inside(&mut self, ends: [[u8; 16]; 2], datagram: &[u8]) -> Vec<u8> {
        let mut chain = self.chain();
        match self.random.u8(..4) {
            0 => chain.push((ROUTING, self.routing())),
            1 => {}
            _ => chain.push((ROUTING, vec![0, self.one(&[3, 4]), 0, 0, 0, 0, 0])),
        }
        let (next, inner) = if self.random.bool() {
            (IPV6_INSIDE, self.ipv6_packet(ends, &[], UDP, datagram))
        } else {
            let mut bare = datagram.to_vec();
            bare[6..8].fill(0);
            let to = self.lab.inside.v4.octets();
            let from = self.source_v4().octets();
            (IPV4_INSIDE, self.plain_ipv4([from, to], &bare))
        };
        self.ipv6_packet(ends, &chain, next, &inner)
    }

    fn ipv6_fragments(
        &mut self,
        ends: [[u8; 16]; 2],
        chain: &[Header],
        datagram: &[u8],
    ) -> Vec<Vec<u8>> {
        let identification = self.number.to_be_bytes();
        let mut packets: Vec<Vec<u8>> = self
            .cuts(datagram.len())
            .into_iter()
            .map(|(start, end, more)| {
                let field = start as u16 | if more { MORE_FRAGMENTS } else { 0 };
                let mut header = vec![0];
                header.extend(field.to_be_bytes());
                header.extend(identification);
                let mut chain = chain.to_vec();
                chain.push((FRAGMENT, header));
                self.ipv6_packet(ends, &chain, UDP, &datagram[start..end])
            })
            .collect();
        self.random.shuffle(&mut packets);
        packets
    }

    fn ipv6_packet(
        &mut self,
        [from, to]: [[u8; 16]; 2],
        chain: &[Header],
        last: u8,
        rest: &[u8],
    ) -> Vec<u8> {
        let mut body = Vec::new();
        let mut kinds = chain.iter().map(|(kind, _)| *kind).chain([last]);
        let first = kinds.next().unwrap_or(last);
        for ((_, header), next) in chain.iter().zip(kinds) {
            body.push(next);
            body.extend(header);
        }
        body.extend(rest);
        let mut length = body.len() as u16;
        if self.rarely(10, "payload length") {
            length = match self.random.u8(..4) {
                0 | 1 => 0,
                2 => length.wrapping_add(self.random.u16(1..40)),
                _ => length.wrapping_sub(self.random.u16(1..40)),
            };
        }
        let version = if self.rarely(60, "any version") {
            self.random.u8(..)
        } else {
            0x60
        };
        let mut packet = vec![version, 0, 0, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([first, 64]);
        packet.extend(from);
        packet.extend(to);
        packet.extend(body);
        packet
    }
}
