//! What stands before and behind the packet.

use super::Maker;

/// More of them than the guard steps over.
const MOST_TAGS: usize = 6;

const TAGS: [u16; 2] = [0x8100, 0x88a8];
/// The tag of no VLAN: only its priority counts, and a host takes it off.
const NO_VLAN: u16 = 0;
const ETHERNET: usize = 14;
const PADDING: usize = 80;

impl Maker<'_> {
    /// Puts a packet into a frame: tagged, padded or cut off in a few cases.
    pub(super) fn link(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut tags = Vec::new();
        if self.rarely(6, "tags") {
            for _ in 0..self.random.usize(1..=MOST_TAGS) {
                tags.push((self.one(&TAGS), NO_VLAN));
            }
        }
        let mut frame = self.lab.wrap(packet, &tags);
        if self.rarely(8, "padding") {
            let padding = self.random.usize(1..PADDING);
            frame.extend(self.bytes(padding));
        }
        if self.rarely(40, "cut off") {
            frame.truncate(self.random.usize(ETHERNET..=frame.len().max(ETHERNET)));
        }
        if self.rarely(100, "another EtherType") {
            let place = ETHERNET - 2 + tags.len() * 4;
            let ether_type = self.one(&[0x0800_u16, 0x86dd, 0x0806, 0x88cc, 0x8847]);
            if let Some(bytes) = frame.get_mut(place..place + 2) {
                bytes.copy_from_slice(&ether_type.to_be_bytes());
            }
        }
        frame
    }
}
