//! How requests in interleaved mode (RFC 9769) are told from others.
//!
//! Such a request has the *receive* timestamp of its server's last reply for its origin, and may be
//! answered with its own receive timestamp in the place of the transmit timestamp that else proves a
//! reply. Of requests in basic mode that timestamp is no proof: some have none, and the classic ntpd's
//! is a time of day. It fills in both fields as well, but its origin is the reply's *transmit*
//! timestamp.
//!
//! So the receive timestamps of admitted replies are kept, each as a hash in a place that the hash
//! gives: any number of clients on any number of addresses may ask one server in turns, and there is
//! nothing to insert or evict. Only admitted replies write. Where two others in between have the same
//! place, the client's next request is taken for a basic one, and a reply in interleaved mode for a
//! forgery.

use crate::{
    hash::scatter,
    wire::{address::Address, ntp::Timestamp},
};

/// How many places there are. A client that asks every minute shares them with whatever else is
/// answered in that minute.
pub const PLACES: u32 = 1 << PLACE_BITS;

const PLACE_BITS: u32 = 13;

/// The last timestamps with one place: the value of the `RECEIVED` map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct LastReceived {
    /// Their hashes, the newest first; 0 for none.
    pub hashes: [u64; 2],
}

impl LastReceived {
    /// Adds one, in the place of the oldest.
    #[inline(always)]
    pub const fn add(&mut self, received: Received) {
        let [last, _] = self.hashes;
        self.hashes = [received.0, last];
    }

    /// Whether one of them is this.
    #[inline(always)]
    pub const fn has(&self, received: Received) -> bool {
        let [last, before] = self.hashes;
        last == received.0 || before == received.0
    }
}

/// The hash of a timestamp that a server gave this host at one of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received(u64);

impl Received {
    /// Of the receive timestamp of a reply, or of the origin of a request that may repeat it.
    #[inline(always)]
    pub fn new<A: Address>(server: A, local: A, timestamp: Timestamp) -> Self {
        let bits = scatter(server.hash() ^ u64::from_ne_bytes(timestamp));
        Self(scatter(bits ^ bits >> 32 ^ local.hash().rotate_left(32)))
    }

    /// Its place among [`PLACES`].
    #[inline(always)]
    pub const fn place(self) -> u32 {
        (self.0 >> (u64::BITS - PLACE_BITS)) as u32
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_part_counts_and_places_are_used_evenly() {
        let (server, local) = ([192, 0, 2, 1], [198, 51, 100, 1]);
        let mut places = BTreeSet::new();
        let mut values = BTreeSet::new();
        for number in 0..u64::from(PLACES) {
            // Timestamps a microsecond apart, as a server gives them under load.
            let timestamp = (0xeeae_5526_0000_0000 + number * 4_295).to_be_bytes();
            let received = Received::new(server, local, timestamp);
            assert!(received.place() < PLACES);
            places.insert(received.place());
            values.insert(received.0);
        }
        assert_eq!(values.len(), PLACES as usize);
        // As many as a random function has it: 1 - 1/e of 8,192.
        assert!((5_050..5_300).contains(&places.len()), "{}", places.len());
        let one = Received::new(server, local, *b"received");
        assert_ne!(one, Received::new(local, server, *b"received"));
        assert_ne!(one, Received::new(server, [198, 51, 100, 2], *b"received"));
        assert_ne!(one, Received::new([192, 0, 2, 2], local, *b"received"));
        assert_ne!(one, Received::new(server, local, *b"receivee"));
        assert_ne!(
            Received::new([1; 16], [2; 16], *b"received"),
            Received::new([1; 16], [3; 16], *b"received")
        );
    }

    #[test]
    fn a_place_has_the_last_two() {
        let mut place = LastReceived::default();
        let [one, two, three] = [1, 2, 3].map(Received);
        assert!(!place.has(one));
        place.add(one);
        place.add(two);
        assert!(place.has(one) && place.has(two) && !place.has(three));
        place.add(three);
        assert!(!place.has(one) && place.has(two) && place.has(three));
    }
}
