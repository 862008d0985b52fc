//! Tells of most addresses that nothing is known of them, without searching a table for them.
//!
//! A flood from random addresses is dropped after a read of each of two small arrays, which stay in a
//! CPU's nearest cache. What the prefilter lets through is looked up, so a stranger that shares a bit
//! with somebody known costs more, and is dropped all the same.

use crate::wire::address::Address;

/// What is granted: the value of the `GRANT_BITS` map, one page. A bit is set for the hash of each
/// granted address, and of each block of addresses in which a prefix is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GrantBits {
    /// The bits, 64 in a word.
    pub words: [u64; Self::WORDS],
}

impl GrantBits {
    const WORDS: usize = 512;

    /// None set.
    pub const NONE: Self = Self {
        words: [0; Self::WORDS],
    };

    /// All set: for what cannot be told by blocks.
    pub const ALL: Self = Self {
        words: [u64::MAX; Self::WORDS],
    };

    /// The bit of every word that says that prefixes are granted somewhere, so that blocks have bits.
    /// Where an address that is granted sets it too, some blocks are looked at for nothing.
    const ANY_PREFIX: u64 = 1 << 63;

    /// Whether anything may be granted to an address.
    #[inline(always)]
    pub fn may_hold<A: Address>(&self, address: A) -> bool {
        let (word, mask) = Self::place(address.hash());
        let word = self.words[word];
        word & mask != 0 || word & Self::ANY_PREFIX != 0 && self.has(address.block_hash())
    }

    /// Whether the bit of a hash is set.
    #[inline(always)]
    const fn has(&self, hash: u64) -> bool {
        let (word, mask) = Self::place(hash);
        self.words[word] & mask != 0
    }

    /// Says that prefixes are granted.
    pub fn set_any_prefix(&mut self) {
        self.words
            .iter_mut()
            .for_each(|word| *word |= Self::ANY_PREFIX);
    }

    /// Sets the bit of a hash.
    pub const fn set(&mut self, hash: u64) {
        let (word, mask) = Self::place(hash);
        self.words[word] |= mask;
    }

    /// The bit of a hash, which its first six bits say, and the word, which the next nine do.
    #[inline(always)]
    const fn place(hash: u64) -> (usize, u64) {
        let word = hash >> (58 - 9) & (Self::WORDS as u64 - 1);
        (word as usize, 1 << (hash >> 58))
    }
}

/// Where requests that need no grant went: the value of the `ASKED_MARKS` map. A byte for each
/// hash of a server, since old kernels cannot set a bit without losing another CPU's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct AskedMarks {
    /// 1 where such a request was ever tracked.
    pub marks: [u8; Self::COUNT],
}

impl AskedMarks {
    /// How many there are.
    pub const COUNT: usize = 1 << 11;

    /// Whether such a request to this server may have been tracked.
    #[inline(always)]
    pub fn has<A: Address>(&self, server: A) -> bool {
        self.marks[Self::of(server) % Self::COUNT] != 0
    }

    /// The mark of a server.
    #[inline(always)]
    pub fn of<A: Address>(server: A) -> usize {
        (server.hash() >> 53) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_has_its_bit() {
        for hash in [0, 1 << 49, 1 << 57, 1 << 58, 1 << 63, u64::MAX] {
            let mut bits = GrantBits::NONE;
            bits.set(hash);
            assert!(bits.has(hash));
            assert_eq!(ones(&bits), 1);
        }
        assert!(!GrantBits::NONE.has(0));
    }

    #[test]
    fn neighbours_are_far_apart() {
        let mut bits = GrantBits::NONE;
        for last in 0..=255 {
            bits.set([192, 0, 2, last].hash());
            let mut v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            v6[15] = last;
            bits.set(v6.hash());
            (v6[7], v6[15]) = (last, 1);
            bits.set(v6.hash());
        }
        // By chance, nine of 768 would share a bit with another one.
        assert!(ones(&bits) > 740, "{} bits of 768 addresses", ones(&bits));
    }

    fn ones(bits: &GrantBits) -> u32 {
        bits.words.iter().map(|word| word.count_ones()).sum()
    }

    #[test]
    fn a_mark_is_within_its_array() {
        assert!(AskedMarks::of([255; 4]) < AskedMarks::COUNT);
        assert!(AskedMarks::of([0x5a; 16]) < AskedMarks::COUNT);
    }
}
