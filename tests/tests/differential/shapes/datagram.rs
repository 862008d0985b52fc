//! A UDP datagram, right or wrong in itself.

use super::Maker;

pub(super) const UDP: u8 = 17;
pub(super) const UDP_LEN: usize = 8;
const CHECKSUM: usize = 6;

impl Maker<'_> {
    /// A datagram without a checksum, which IPv4 takes.
    pub(super) fn datagram(&mut self) -> Vec<u8> {
        let (source, destination) = self.ports();
        let payload = self.payload();
        let mut length = (UDP_LEN + payload.len()) as u16;
        if self.rarely(12, "UDP length") {
            length = match self.random.u8(..6) {
                0 => 0,
                1 => self.random.u16(..UDP_LEN as u16),
                2 => self.random.u16(..),
                3 => UDP_LEN as u16,
                4 => length.wrapping_add(self.random.u16(1..40)),
                _ => length.wrapping_sub(self.random.u16(1..40)),
            };
        }
        let mut datagram = Vec::new();
        for field in [source, destination, length, 0] {
            datagram.extend(field.to_be_bytes());
        }
        datagram.extend(payload);
        datagram
    }

    fn payload(&mut self) -> Vec<u8> {
        let usual = self.one(&[0x23, 0x24, 0x1b, 0x1c, 0xe3, 0x16, 0x17, 0x08, 0x19, 0x21]);
        let first = if self.rarely(10, "any first byte") {
            self.random.u8(..)
        } else {
            usual
        };
        let length = match self.random.u8(..10) {
            0 => self.random.usize(..60),
            1 => self.random.usize(60..600),
            2 => 12,
            3 => 68,
            _ => 48,
        };
        let mut payload = self.bytes(length);
        if let Some(byte) = payload.first_mut() {
            *byte = first;
        }
        payload
    }
}

/// Fills in the checksum over what IPv6 says of a datagram and over as much of it as its own length
/// says, all of it where that is 0: so Linux reckons (`udp6_csum_init`).
pub(super) fn fill_checksum(datagram: &mut [u8], source: [u8; 16], destination: [u8; 16]) {
    let Some(&[high, low]) = datagram.get(4..6) else {
        return;
    };
    let said = usize::from(u16::from_be_bytes([high, low]));
    let length = if said == 0 { datagram.len() } else { said };
    let covered = datagram.get(..length).unwrap_or(datagram);
    let mut sum = Sum::default();
    sum.add(&source);
    sum.add(&destination);
    sum.add(&(length as u32).to_be_bytes());
    sum.add(&[0, 0, 0, UDP]);
    sum.add(covered);
    let checksum = match sum.finish() {
        0 => 0xffff,
        other => other,
    };
    if let Some(field) = datagram.get_mut(CHECKSUM..CHECKSUM + 2) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The Internet checksum (RFC 1071).
#[derive(Default)]
pub(super) struct Sum(u64);

impl Sum {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks(2) {
            let low = pair.get(1).copied().unwrap_or_default();
            self.0 += u64::from(u16::from_be_bytes([pair[0], low]));
        }
    }

    pub(super) fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}
