//! What the kernel remembers of the requests that leave this host.
//!
//! Host byte order, except for addresses and timestamps, which stay as packets carry them. Times
//! are nanoseconds of monotonic time (`CLOCK_MONOTONIC`) as of the last tick: reading a precise
//! clock would cost as much as all the rest of a packet's way.

use crate::wire::ntp::{NO_TIMESTAMP, Timestamp};

/// How long a request may be answered unless something else is configured, in seconds: what busybox's
/// ntpd waits (`RESPONSE_INTERVAL`), longest of the time daemons. OpenNTPD waits 15 s, chronyd `maxdelay`
/// and 4 s, by default 7.
pub const REPLY_WINDOW: u32 = 16;

/// A request that is open: the key of the `TRUSTED_*` and `ASKED_*` maps. What a reply must say
/// stands in it, so finding the request and proving the reply are one look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct Request<A> {
    /// The server's address.
    pub server: A,
    /// The address the request was sent from.
    pub local: A,
    /// The server's port; 0 in an association's entry.
    pub server_port: u16,
    /// The port the request was sent from; 0 in an association's entry.
    pub local_port: u16,
    /// The origin timestamp that a reply must carry.
    pub token: Timestamp,
}

impl<A> Request<A> {
    /// The entry that says that we send `server` symmetric packets. No request looks like it, and
    /// no reply takes it.
    pub const fn association(server: A, local: A) -> Self {
        Self {
            server,
            local,
            server_port: 0,
            local_port: 0,
            token: NO_TIMESTAMP,
        }
    }
}

/// What is known of an open request: the value of the `TRUSTED_*` and `ASKED_*` maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Sent {
    /// When it was sent.
    pub at: u64,
    /// The other token that a reply to it may carry, where it is in interleaved mode (RFC 9769). A reply
    /// with the first closes both; one with this closes this alone, whose own entry names no other.
    pub sibling: Timestamp,
    /// Bytes of its UDP payload: a reply has no more.
    pub length: u32,
    /// 1 where there is a sibling.
    pub interleaved: u32,
}

impl Sent {
    /// Whether a request sent at `at` may be answered at `now`, where requests may be for `window`.
    #[inline(always)]
    pub const fn in_time(at: u64, now: u64, window: u64) -> bool {
        now.wrapping_sub(at) < window
    }
}

/// A server that trusted requests went to: the value of the `LEARNED_*` maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Learned {
    /// When the first of them was sent.
    pub first: u64,
    /// When the last of them was sent.
    pub last: u64,
    /// How many they were.
    pub count: u64,
}

/// What a server last said on the wire: the value of the `SERVERS` map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Server {
    /// When a request that needs a grant was last sent to it; 0 for never. What `LEARNED_*` tell
    /// counts besides.
    pub asked: u64,
    /// When it last replied; 0 for never.
    pub last: u64,
    /// How many of its replies were admitted.
    pub count: u64,
    /// When it last sent a kiss of death; 0 for never.
    pub kissed: u64,
    /// The kiss code of that, in ASCII (RFC 5905 section 7.4).
    pub kiss: [u8; 4],
    /// The reference identifier of its last reply.
    pub refid: [u8; 4],
    /// The leap indicator, 0 to 3.
    pub leap: u8,
    /// The version.
    pub version: u8,
    /// The stratum; 0 for a kiss of death.
    pub stratum: u8,
    /// The poll exponent, in log2 seconds.
    pub poll: i8,
    /// Keeps the size a multiple of the alignment.
    pub reserved: u32,
}

/// Who asked a server that nobody granted: the key of the `UNGRANTED` map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct UngrantedKey {
    /// The server's address, IPv4 as IPv4-mapped.
    pub server: [u8; 16],
    /// The sender's cgroup, by its number; 0 where there is none, as for what is forwarded.
    pub cgroup: u64,
    /// The role that the server would need, a [`Role`](super::tables::Role)'s bit: `server` or `control`.
    pub role: u32,
    /// Keeps the size a multiple of the alignment.
    pub reserved: u32,
}

/// How often: the value of the `UNGRANTED` map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UngrantedStats {
    /// When the last request was sent.
    pub last: u64,
    /// How many there were.
    pub count: u64,
    /// The name of the process that sent the first, ended by a zero; empty where the kernel does
    /// not tell.
    pub process: [u8; 16],
}

/// Outbound requests, by what became of them: the value of the `REQUESTS` map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Requests {
    /// Sent by a trusted sender, and tracked.
    pub trusted: u64,
    /// Sent by others to a granted server, and tracked.
    pub granted: u64,
    /// Sent by others to a server that nobody granted: its reply will be dropped.
    pub ungranted: u64,
}

impl Requests {
    /// Adds what another CPU counted.
    pub const fn add(&mut self, other: &Self) {
        self.trusted += other.trusted;
        self.granted += other.granted;
        self.ungranted += other.ungranted;
    }
}

#[cfg(feature = "user")]
mod pod {
    use super::{Learned, Request, Requests, Sent, Server, UngrantedKey, UngrantedStats};

    // SAFETY: repr(C), made of integers alone, without padding, valid for every bit pattern.
    unsafe impl aya::Pod for Request<[u8; 4]> {}
    // SAFETY: as for the former.
    unsafe impl aya::Pod for Request<[u8; 16]> {}
    // SAFETY: as for the former.
    unsafe impl aya::Pod for Sent {}
    // SAFETY: as for the former.
    unsafe impl aya::Pod for Learned {}
    // SAFETY: as for the former.
    unsafe impl aya::Pod for Server {}
    // SAFETY: as for the former.
    unsafe impl aya::Pod for UngrantedKey {}
    // SAFETY: as for the former.
    unsafe impl aya::Pod for UngrantedStats {}
    // SAFETY: as for the former.
    unsafe impl aya::Pod for Requests {}
}

// Padding would leak into the maps, and make keys that look the same differ.
const _: () = assert!(size_of::<Request<[u8; 4]>>() == 20);
const _: () = assert!(size_of::<Request<[u8; 16]>>() == 44);
const _: () = assert!(size_of::<Sent>() == 24);
const _: () = assert!(size_of::<Server>() == 48);
const _: () = assert!(size_of::<UngrantedKey>() == 32);
const _: () = assert!(size_of::<UngrantedStats>() == 32);
