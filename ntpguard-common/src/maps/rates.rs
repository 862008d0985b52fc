//! How often clients may ask: token buckets of a number each, found by a keyed hash.
//!
//! A bucket is the moment at which it will be full again (the generic cell rate algorithm, ITU-T
//! I.371): a packet moves that moment on by the time a token takes to come back, and is too many
//! where it would lie further ahead than a full bucket lasts.
//!
//! CPUs share buckets without a lock. They move the moment on by an atomic addition, which every
//! kernel has (compare and swap takes Linux 5.12), so that each admitted packet is charged: those
//! that look at the same time may take a token too many each, and the next ones wait for it. Only
//! where a bucket is full is the moment written anew, and a charge of that instant may be lost.

use crate::clock::{Clocks, NANOSECONDS};

/// Buckets for clients. An address has always the same, and may share it with others.
pub const CLIENT_BUCKETS: u32 = 65_536;

/// All buckets: that of everybody together comes first.
pub const RATES_SIZE: u32 = 1 + CLIENT_BUCKETS;

/// The number of everybody's bucket.
const TOTAL: u32 = 0;

/// One packet in so many is let through beyond the rate of its address: who forges a client's address
/// can make it wait, and not shut it out. As chrony's `ratelimit` does with its `leak` of 2.
pub const LET_THROUGH: u64 = 4;

/// How many times the rate of an address may be let through beyond it.
pub const MOST_LET_THROUGH: u64 = 16;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time in which a token comes back, nanoseconds; 0 for no limit.
    pub interval: u64,
    /// The time in which an empty bucket fills up, nanoseconds.
    pub window: u64,
}

impl Rate {
    /// No limit.
    pub const OFF: Self = Self {
        interval: 0,
        window: 0,
    };

    /// So many packets a second, and as many at once as come in so many seconds; 0 packets for no
    /// limit.
    pub const fn per_second(packets: u32, seconds: u32) -> Self {
        if packets == 0 {
            return Self::OFF;
        }
        Self {
            interval: NANOSECONDS / packets as u64,
            window: NANOSECONDS * seconds as u64,
        }
    }

    /// Whether there is no limit.
    #[inline(always)]
    pub const fn is_off(self) -> bool {
        self.interval == 0
    }

    /// What may be let through beyond this rate, a second's worth of it at once.
    #[inline(always)]
    const fn beyond(self) -> Self {
        Self {
            interval: self.interval / MOST_LET_THROUGH,
            window: NANOSECONDS,
        }
    }

    /// The same rate, of which half a bucket is kept for others.
    #[inline(always)]
    const fn leaving_half(self) -> Self {
        Self {
            interval: self.interval,
            window: self.window / 2,
        }
    }
}

/// The limits for clients, and the key by which they are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// For each address, an IPv6 client being taken to have a /64.
    pub client: Rate,
    /// For all clients together.
    pub total: Rate,
    /// Makes the buckets of addresses unknown to whoever does not know it.
    pub key: [u64; 2],
}

impl Rates {
    /// No limits.
    pub const OFF: Self = Self {
        client: Rate::OFF,
        total: Rate::OFF,
        key: [0; 2],
    };

    /// Packets a second for each address: a thousand hosts behind one address that poll every 64 s
    /// are a quarter of it. ntpd and chrony, where they limit at all, allow one in 8 s.
    pub const CLIENT: u32 = 64;

    /// How many seconds' worth an address may send at once: the iburst of a hundred hosts behind it.
    pub const CLIENT_SECONDS: u32 = 16;

    /// Packets a second for all clients: more than one time daemon answers on one core.
    pub const TOTAL: u32 = 250_000;

    /// How many seconds' worth of that may come at once.
    pub const TOTAL_SECONDS: u32 = 1;

    /// Packets a second for each address and for all, 0 for no limit.
    pub const fn per_second(client: u32, total: u32, key: [u64; 2]) -> Self {
        Self {
            client: Rate::per_second(client, Self::CLIENT_SECONDS),
            total: Rate::per_second(total, Self::TOTAL_SECONDS),
            key,
        }
    }

    /// Whether nothing is limited.
    #[inline(always)]
    pub const fn is_off(&self) -> bool {
        self.client.is_off() && self.total.is_off()
    }

    /// Whether a packet of a client is admitted. `bucket` finds the bucket of a number.
    ///
    /// The client's own rate comes first, and what it refuses costs nobody else a token. The rate of
    /// all is charged for every packet that is admitted, and obeyed; what is beyond its client's rate
    /// finds only half of that bucket, so that a flood in one client's name leaves the rest to others.
    ///
    /// What an attacker could find out with patience is which addresses share a bucket; it is worth
    /// nothing to one who can forge an address, and so also the victim's own. Thus a cheap mixing
    /// function (`MurmurHash3`'s, with a key) does, and chance is made of the same.
    #[inline(always)]
    pub fn admit<C: Clocks, M: Moment>(
        &self,
        client: u64,
        clocks: &C,
        bucket: impl Fn(u32) -> Option<Moments<M>>,
    ) -> bool {
        let total = match self.standing(client, clocks, &bucket) {
            Standing::Within => self.total,
            Standing::LetThrough => self.total.leaving_half(),
            Standing::Beyond => return false,
        };
        if total.is_off() {
            return true;
        }
        bucket(TOTAL).is_none_or(|bucket| spend(&bucket.full_at, clocks.tick(), total))
    }

    #[inline(always)]
    fn standing<C: Clocks, M: Moment>(
        &self,
        client: u64,
        clocks: &C,
        bucket: impl Fn(u32) -> Option<Moments<M>>,
    ) -> Standing {
        if self.client.is_off() {
            return Standing::Within;
        }
        let hash = mix(client, self.key);
        let Some(bucket) = bucket(1 + (hash % u64::from(CLIENT_BUCKETS)) as u32) else {
            return Standing::Within;
        };
        let now = clocks.tick();
        if spend(&bucket.full_at, now, self.client) {
            return Standing::Within;
        }
        // The precise clock takes longer than all this: it is read for chance alone, and not where
        // there is nothing to win.
        let beyond = self.client.beyond();
        if has_token(&bucket.beyond_full_at, now, beyond)
            && mix(hash ^ clocks.boot(), self.key).is_multiple_of(LET_THROUGH)
            && spend(&bucket.beyond_full_at, now, beyond)
        {
            return Standing::LetThrough;
        }
        Standing::Beyond
    }
}

/// What a client's own rate says of its packet.
enum Standing {
    /// It is within the rate.
    Within,
    /// It is not, and may be admitted all the same.
    LetThrough,
    /// It is not.
    Beyond,
}

impl Default for Rates {
    /// The usual limits, with a key that everybody knows: for trials.
    fn default() -> Self {
        Self::per_second(Self::CLIENT, Self::TOTAL, [0; 2])
    }
}

/// Spreads a word over all 64 bits, in a way that only the key tells.
#[inline(always)]
const fn mix(word: u64, [first, second]: [u64; 2]) -> u64 {
    let word = (word ^ first).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let word = (word ^ (word >> 33) ^ second).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

/// A client's token buckets, or everybody's: the value of the `RATES` map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket {
    /// When it is full again, nanoseconds of monotonic time.
    pub full_at: u64,
    /// When the bucket is full again from which packets beyond the rate are let through; 0 in
    /// everybody's, which lets none through.
    pub beyond_full_at: u64,
}

/// A moment in a [`Bucket`], which other CPUs may change at any time.
pub trait Moment {
    /// What it is now.
    fn get(&self) -> u64;

    /// Writes it anew, whatever others do.
    fn set(&self, to: u64);

    /// Moves it on by so much, along with what others do.
    fn advance(&self, by: u64);
}

/// The moments in a [`Bucket`], by the names that they have there.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each field is named for the bucket's")]
pub struct Moments<M> {
    pub full_at: M,
    pub beyond_full_at: M,
}

/// Whether there is a token.
#[inline(always)]
fn has_token<M: Moment>(full_at: &M, now: u64, rate: Rate) -> bool {
    full_at.get().saturating_sub(now) + rate.interval <= rate.window
}

/// Takes a token out, if there is one.
#[inline(always)]
fn spend<M: Moment>(full_at: &M, now: u64, rate: Rate) -> bool {
    let until = full_at.get();
    if until <= now {
        if rate.interval > rate.window {
            return false;
        }
        full_at.set(now + rate.interval);
        return true;
    }
    if until - now + rate.interval > rate.window {
        return false;
    }
    full_at.advance(rate.interval);
    true
}

#[cfg(test)]
mod tests;
