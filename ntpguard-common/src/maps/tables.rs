//! The kernel tables: their names, keys and values.
//!
//! People read these with bpftool and other programs may too, so names, layouts and meanings
//! change only together with [`ABI`].

/// The number of this layout, kept in [`Info::abi`].
pub const ABI: u32 = 9;

/// Names of the maps, as they are in the object and under the pin directory.
pub mod names {
    /// Address (4 bytes, network order) → [`Grant`](super::Grant).
    pub const ALLOW_V4: &str = "ALLOW_V4";
    /// Address (16 bytes, network order), or the [key](crate::wire::link_local) of one on an interface →
    /// [`Grant`](super::Grant).
    pub const ALLOW_V6: &str = "ALLOW_V6";
    /// IPv4 prefix → [`Grant`](super::Grant), longest match.
    pub const ALLOW_NET_V4: &str = "ALLOW_NET_V4";
    /// IPv6 prefix → [`Grant`](super::Grant), longest match.
    pub const ALLOW_NET_V6: &str = "ALLOW_NET_V6";
    /// [`Endpoint`](crate::maps::endpoint::Endpoint) → [`Grant`](super::Grant).
    pub const ALLOW_ENDPOINT: &str = "ALLOW_ENDPOINT";
    /// 0 → [`Ports`](crate::maps::endpoint::Ports).
    pub const PORT_BITS: &str = "PORT_BITS";
    /// 0 → [`GrantBits`](crate::maps::prefilter::GrantBits).
    pub const GRANT_BITS: &str = "GRANT_BITS";
    /// 0 → [`AskedMarks`](crate::maps::prefilter::AskedMarks).
    pub const ASKED_MARKS: &str = "ASKED_MARKS";
    /// [`Request`](crate::maps::requests::Request) of a trusted sender →
    /// [`Sent`](crate::maps::requests::Sent), IPv4.
    pub const TRUSTED_V4: &str = "TRUSTED_V4";
    /// The same, IPv6.
    pub const TRUSTED_V6: &str = "TRUSTED_V6";
    /// [`Request`](crate::maps::requests::Request) of anybody else →
    /// [`Sent`](crate::maps::requests::Sent), IPv4.
    pub const ASKED_V4: &str = "ASKED_V4";
    /// The same, IPv6.
    pub const ASKED_V6: &str = "ASKED_V6";
    /// Address (4 bytes, network order) → [`Learned`](crate::maps::requests::Learned).
    pub const LEARNED_V4: &str = "LEARNED_V4";
    /// Address (16 bytes, network order) → [`Learned`](crate::maps::requests::Learned).
    pub const LEARNED_V6: &str = "LEARNED_V6";
    /// Address (16 bytes, IPv4 as IPv4-mapped) → [`Server`](crate::maps::requests::Server).
    pub const SERVERS: &str = "SERVERS";
    /// Address (16 bytes, IPv4 as IPv4-mapped) → [`Refusals`](crate::maps::refusals::Refusals), per CPU.
    pub const REFUSALS: &str = "REFUSALS";
    /// The place of a receive timestamp that a server gave →
    /// [`LastReceived`](crate::maps::received::LastReceived).
    pub const RECEIVED: &str = "RECEIVED";
    /// Cgroup id → [`TrustedCgroup`](crate::maps::trusted::TrustedCgroup).
    /// [`Info::depths`](super::Info::depths) has the depths of these cgroups.
    pub const TRUSTED_CGROUPS: &str = "TRUSTED_CGROUPS";
    /// Uid → [`TrustedUid`](crate::maps::trusted::TrustedUid).
    pub const TRUSTED_UIDS: &str = "TRUSTED_UIDS";
    /// 0 → [`Requests`](crate::maps::requests::Requests), per CPU.
    pub const REQUESTS: &str = "REQUESTS";
    /// [`UngrantedKey`](crate::maps::requests::UngrantedKey) → [`UngrantedStats`](crate::maps::requests::UngrantedStats).
    pub const UNGRANTED: &str = "UNGRANTED";
    /// 0 everybody, from 1 on clients by a keyed hash → [`Bucket`](crate::maps::rates::Bucket).
    pub const RATES: &str = "RATES";
    /// 0 enforced, 1 monitored → [`Counters`](crate::reason::Counters), per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// Ring buffer of [`Event`](crate::events::Event)s, with one reader.
    pub const EVENTS: &str = "EVENTS";
    /// 0 → [`Info`](super::Info).
    pub const INFO: &str = "INFO";
    /// All of them.
    pub const ALL: &[&str] = &[
        ALLOW_V4,
        ALLOW_V6,
        ALLOW_NET_V4,
        ALLOW_NET_V6,
        ALLOW_ENDPOINT,
        PORT_BITS,
        GRANT_BITS,
        ASKED_MARKS,
        TRUSTED_V4,
        TRUSTED_V6,
        ASKED_V4,
        ASKED_V6,
        LEARNED_V4,
        LEARNED_V6,
        SERVERS,
        REFUSALS,
        RECEIVED,
        TRUSTED_CGROUPS,
        TRUSTED_UIDS,
        REQUESTS,
        UNGRANTED,
        RATES,
        COUNTERS,
        EVENTS,
        INFO,
    ];
}

/// Most entries of each `ALLOW_*` map unless the loader is told otherwise.
///
/// A hash map's buckets are made with the map, 16 bytes each: 65,536 keep them at 1 MiB, within
/// reach of a CPU's cache under a flood of random addresses.
pub const DEFAULT_TABLE_SIZE: u32 = 65_536;

/// Servers at other ports than 123 that `ALLOW_ENDPOINT` holds: what four names can lead to.
pub const ALLOW_ENDPOINT_SIZE: u32 = 4_096;

/// Open requests that each of the `TRUSTED_*` and `ASKED_*` maps holds.
///
/// An LRU map lends each CPU up to 128 free entries (`LOCAL_FREE_TARGET` in
/// `kernel/bpf/bpf_lru_list.c`), so this leaves enough for all on machines of many CPUs.
pub const REQUESTS_SIZE: u32 = 16_384;

/// Servers that each of `LEARNED_*` and `SERVERS` holds; pool.ntp.org has 5,700.
pub const SERVERS_SIZE: u32 = 4_096;

/// Trusted senders that there can be.
pub const TRUSTED_CGROUPS_SIZE: u32 = 256;

/// Requests to servers that nobody granted, kept to be shown.
pub const UNGRANTED_SIZE: u32 = 1_024;

/// How many interfaces [`Info`] can name.
pub const MAX_INTERFACES: usize = 32;

/// What an address may be to this host. A set of them is [`Grant::roles`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Role {
    /// Answers this host's requests (mode 4).
    Server = 1,
    /// Exchanges symmetric packets with this host (modes 1 and 2).
    Peer = 1 << 1,
    /// Sends time to a broadcast or multicast address (mode 5).
    Broadcast = 1 << 2,
    /// Asks this host for the time (mode 3, mode 1, and version 1's mode 0).
    Client = 1 << 3,
    /// Reads this host's variables, or is read by it (mode 6).
    Control = 1 << 4,
}

impl Role {
    /// Every role, in the order of [`Expiry`].
    pub const ALL: [Self; 5] = [
        Self::Server,
        Self::Peer,
        Self::Broadcast,
        Self::Client,
        Self::Control,
    ];

    /// The role's bit in [`Grant::roles`].
    #[inline(always)]
    pub const fn bit(self) -> u32 {
        self as u32
    }

    /// The role's name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Peer => "peer",
            Self::Broadcast => "broadcast",
            Self::Client => "client",
            Self::Control => "control",
        }
    }
}

/// The bit of [`Grant::roles`] that says no: nothing more is granted here, whatever covers it.
pub const DENY: u32 = 1 << 31;

/// The bit of [`Grant::roles`] of a denial by hand: not even a trusted sender's request is
/// answered from there. Always together with [`DENY`].
pub const DENY_ALWAYS: u32 = 1 << 30;

/// The bit of [`Grant::roles`] that lets replies be [longer](super::refusals::LONGER_BY) than their requests.
/// It counts with [`Role::Server`] alone.
pub const LONG_REPLIES: u32 = 1 << 29;

/// Who vouches for a grant. A set of them is [`Grant::origins`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Origin {
    /// An address written in a configuration file.
    Config = 1,
    /// DNS, for a name in a configuration file.
    Dns = 1 << 1,
    /// A running time daemon.
    Daemon = 1 << 2,
    /// The state of an earlier run, until its name is resolved again.
    Saved = 1 << 3,
    /// Somebody, with `ntpguard allowlist add`.
    Manual = 1 << 4,
    /// The requests of a trusted sender. They admit their replies by themselves, so no grant has
    /// this origin; lists name it.
    Learned = 1 << 5,
}

impl Origin {
    /// Every origin, by its bit.
    pub const ALL: [Self; 6] = [
        Self::Config,
        Self::Dns,
        Self::Daemon,
        Self::Saved,
        Self::Manual,
        Self::Learned,
    ];

    /// The origin's bit in [`Grant::origins`].
    pub const fn bit(self) -> u32 {
        self as u32
    }

    /// The origin's name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Dns => "dns",
            Self::Daemon => "daemon",
            Self::Saved => "saved",
            Self::Manual => "manual",
            Self::Learned => "learned",
        }
    }
}

/// When each role of a grant ends: seconds of boot time (`CLOCK_BOOTTIME`), 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "each field is the end of the role it is named for"
)]
pub struct Expiry {
    pub server: u32,
    pub peer: u32,
    pub broadcast: u32,
    pub client: u32,
    pub control: u32,
}

impl Expiry {
    /// When `role` ends.
    #[inline(always)]
    pub const fn get(&self, role: Role) -> u32 {
        match role {
            Role::Server => self.server,
            Role::Peer => self.peer,
            Role::Broadcast => self.broadcast,
            Role::Client => self.client,
            Role::Control => self.control,
        }
    }

    /// Sets when `role` ends.
    pub const fn set(&mut self, role: Role, seconds: u32) {
        match role {
            Role::Server => self.server = seconds,
            Role::Peer => self.peer = seconds,
            Role::Broadcast => self.broadcast = seconds,
            Role::Client => self.client = seconds,
            Role::Control => self.control = seconds,
        }
    }
}

/// What an address or prefix may be to this host: the value of the `ALLOW_*` maps.
///
/// Host byte order throughout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Grant {
    /// Bits of [`Role`], [`DENY`], [`DENY_ALWAYS`] and [`LONG_REPLIES`].
    pub roles: u32,
    /// Bits of [`Origin`]; for display, the judge does not read it.
    pub origins: u32,
    /// When each role ends.
    pub expires: Expiry,
}

/// How the guard was loaded: the value of the `INFO` map, written from user space alone.
///
/// Host byte order throughout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Info {
    /// The layout of all the maps, [`ABI`].
    pub abi: u32,
    /// 0 enforce, 1 monitor.
    pub mode: u32,
    /// When the programs were loaded, nanoseconds of boot time (`CLOCK_BOOTTIME`).
    pub loaded: u64,
    /// The time at which programs loaded for [`Clock::Given`] judge, nanoseconds; others do not
    /// read it.
    ///
    /// [`Clock::Given`]: crate::clock::Clock::Given
    pub clock: u64,
    /// Until when replies from granted servers pass without a request, nanoseconds of monotonic
    /// time (`CLOCK_MONOTONIC`); 0 for never.
    pub warm_until: u64,
    /// Entries in `ALLOW_NET_V4`; while it is 0 the judge does not search that map.
    pub prefixes_v4: u32,
    /// Entries in `ALLOW_NET_V6`; while it is 0 the judge does not search that map.
    pub prefixes_v6: u32,
    /// Grants with [`DENY_ALWAYS`]; while there are none the judge does not search for the server of a
    /// trusted sender's request.
    pub bans: u32,
    /// [`Depths`](super::trusted::Depths) of the trusted cgroups.
    pub depths: u32,
    /// How long after its request a reply is admitted, in seconds; 0 where requests are not tracked.
    pub reply_window: u32,
    /// Whose requests admit replies whatever is granted: the number of a [`Learn`].
    ///
    /// [`Learn`]: crate::rule::policy::Learn
    pub learn: u32,
    /// Packets a second that each client may send, 0 for no limit.
    pub client_rate: u32,
    /// Packets a second that all clients may send, 0 for no limit.
    pub total_rate: u32,
    /// Indices of the guarded interfaces, 0 in the places not used.
    pub interfaces: [u32; MAX_INTERFACES],
}

/// What the return value of a program built to explain is above the [`Reason`] it found.
///
/// A packet that is none of ours returns plain `XDP_PASS`.
///
/// [`Reason`]: crate::reason::Reason
pub const EXPLAIN_BASE: u32 = 0x100;

#[cfg(feature = "user")]
mod pod {
    use super::{Grant, Info};
    use crate::{maps::prefilter::GrantBits, reason::Counters};

    // SAFETY: repr(C), made of integers alone, without padding, valid for every bit pattern.
    unsafe impl aya::Pod for Grant {}
    // SAFETY: as for Grant.
    unsafe impl aya::Pod for Info {}
    // SAFETY: as for Grant.
    unsafe impl aya::Pod for Counters {}
    // SAFETY: as for Grant.
    unsafe impl aya::Pod for GrantBits {}
}

// Padding would leak into the maps and break their printing.
const _: () = assert!(size_of::<Grant>() == 28);
const _: () = assert!(size_of::<Info>() == 64 + 4 * MAX_INTERFACES);
