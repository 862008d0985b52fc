//! IPv4, whole or in fragments.

use std::net::IpAddr;

use super::{
    Maker,
    datagram::{Sum, UDP},
};

const HEADER: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
/// Options that a host steps over: no operation, and the end of the list.
const NO_OPERATION: u8 = 1;
const CHECKSUM: usize = 10;
const HOPS: u8 = 64;

impl Maker<'_> {
    pub(super) fn ipv4(&mut self) -> (IpAddr, Vec<Vec<u8>>) {
        let from = self.source_v4();
        let datagram = self.datagram();
        let ends = [from.octets(), self.lab.inside.v4.octets()];
        let packets = if self.rarely(8, "IPv4 fragments") {
            self.ipv4_fragments(ends, &datagram)
        } else {
            let field = if self.rarely(30, "any fragment field") {
                self.random.u16(..)
            } else {
                0
            };
            vec![self.ipv4_packet(ends, field, &datagram)]
        };
        (from.into(), packets)
    }

    /// Two or three of them, in any order, which may overlap.
    fn ipv4_fragments(&mut self, ends: [[u8; 4]; 2], datagram: &[u8]) -> Vec<Vec<u8>> {
        let mut packets: Vec<Vec<u8>> = self
            .cuts(datagram.len())
            .into_iter()
            .map(|(start, end, more)| {
                let field = (start / 8) as u16 | if more { MORE_FRAGMENTS } else { 0 };
                self.ipv4_packet(ends, field, &datagram[start..end])
            })
            .collect();
        self.random.shuffle(&mut packets);
        packets
    }

    /// Where to cut bytes into fragments: their starts and ends, and whether more follow.
    pub(super) fn cuts(&mut self, length: usize) -> Vec<(usize, usize, bool)> {
        let eighths = length / 8;
        let mut starts = vec![0];
        for _ in 0..self.random.usize(1..3) {
            if eighths > 1 {
                starts.push(self.random.usize(1..eighths) * 8);
            }
        }
        starts.sort_unstable();
        starts.dedup();
        let overlap = if self.rarely(4, "overlap") { 8 } else { 0 };
        let ends = starts.iter().skip(1).map(|start| start + overlap);
        let ends: Vec<usize> = ends.chain([length]).map(|end| end.min(length)).collect();
        let last = starts.len() - 1;
        starts
            .into_iter()
            .zip(ends)
            .enumerate()
            .map(|(at, (start, end))| (start, end, at < last))
            .collect()
    }

    /// A packet with nothing special about it.
    pub(super) fn plain_ipv4(&mut self, ends: [[u8; 4]; 2], rest: &[u8]) -> Vec<u8> {
        Ipv4 {
            first: 0x45,
            total: (HEADER + rest.len()) as u16,
            number: self.number as u16,
            fragment: 0,
            protocol: UDP,
            ends,
        }
        .packet(&[], true, rest)
    }

    fn ipv4_packet(&mut self, ends: [[u8; 4]; 2], fragment: u16, rest: &[u8]) -> Vec<u8> {
        let options = if self.rarely(8, "options") {
            vec![NO_OPERATION; self.random.usize(1..=10) * 4]
        } else {
            Vec::new()
        };
        let words = ((HEADER + options.len()) / 4) as u8;
        let first = if self.rarely(60, "any version and length of the header") {
            self.random.u8(..)
        } else {
            0x40 | words
        };
        let mut total = (HEADER + options.len() + rest.len()) as u16;
        if self.rarely(15, "total length") {
            total = match self.random.u8(..4) {
                0 => 0,
                1 => self.random.u16(..100),
                2 => total.wrapping_add(self.random.u16(1..40)),
                _ => total.wrapping_sub(self.random.u16(1..40)),
            };
        }
        let protocol = if self.rarely(60, "any protocol") {
            self.random.u8(..)
        } else {
            UDP
        };
        let is_right = !self.rarely(60, "header checksum");
        Ipv4 {
            first,
            total,
            number: self.number as u16,
            fragment,
            protocol,
            ends,
        }
        .packet(&options, is_right, rest)
    }
}

/// The fields of a header that matter.
struct Ipv4 {
    /// Version and length.
    first: u8,
    total: u16,
    /// The identification.
    number: u16,
    /// Flags and offset.
    fragment: u16,
    protocol: u8,
    ends: [[u8; 4]; 2],
}

impl Ipv4 {
    /// The packet, with a checksum over as much of the header as that says to be long, if it is to be
    /// right.
    fn packet(&self, options: &[u8], is_right: bool, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![self.first, 0];
        for field in [self.total, self.number, self.fragment] {
            packet.extend(field.to_be_bytes());
        }
        packet.extend([HOPS, self.protocol, 0, 0]);
        packet.extend(self.ends.concat());
        packet.extend(options);
        if is_right {
            let mut sum = Sum::default();
            let covered = usize::from(self.first & 0x0f) * 4;
            sum.add(packet.get(..covered).unwrap_or(&packet));
            packet[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.finish().to_be_bytes());
        }
        packet.extend(rest);
        packet
    }
}
