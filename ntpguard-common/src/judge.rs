//! The rule: which packets on port 123 are admitted.

use crate::{
    frame::Frame,
    ntp::{self, FirstByte, Mode},
    packet::{self, Address, Datagram, Family, Link, Packet},
    proof,
    reason::Reason,
    requests::{Request, Sent},
    tables::{BAN, DENY, Grant, Role},
};

/// What is fixed while a program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What stands at the start of each frame.
    pub link: Link,
    /// Whether a reply must answer a request.
    pub track: bool,
    /// Whose requests admit replies whatever is granted.
    pub learn: Learn,
    /// Whether a request without a transmit timestamp may be answered (RFC 4330 section 5).
    pub zero_transmit: bool,
}

/// Whose requests admit replies whatever is granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Learn {
    /// Nobody's.
    Off = 0,
    /// Those of trusted senders.
    #[default]
    Trusted = 1,
    /// Everybody's, those forwarded for others included.
    Any = 2,
}

/// The clock by which a program judges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Clock {
    /// The kernel's.
    #[default]
    Kernel = 0,
    /// Whoever runs the program says what time it is, in `INFO`. For trials only.
    Given = 1,
}

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// The time daemon, or whoever else is trusted.
    Trusted,
    /// Anybody else.
    Other,
}

/// What the judge asks of the kernel's tables about addresses of one family. Look-ups return
/// copies.
pub trait TablesOf<A> {
    /// The grant of one address.
    fn grant(&self, address: A) -> Option<Grant>;

    /// The grant of the longest prefix that holds `address`.
    fn prefix(&self, address: A) -> Option<Grant>;

    /// A request of such a sender, open or not any more.
    fn request(&self, sender: Sender, request: &Request<A>) -> Option<Sent>;

    /// Takes a request out of the tables. Says whether it was there: of all who take one at the
    /// same time, one hears yes.
    fn take(&self, sender: Sender, request: &Request<A>) -> bool;

    /// When a server was last sent a request that was noted, in nanoseconds of boot time.
    fn last_asked(&self, server: A) -> Option<u64>;

    /// Until when replies from granted servers pass without a request, because ones sent before
    /// the guard came may be open: nanoseconds of boot time, 0 for never.
    fn warm_until(&self) -> u64;
}

/// What the judge asks of the kernel's tables.
pub trait Tables: TablesOf<[u8; 4]> + TablesOf<[u8; 16]> {}

impl<T: TablesOf<[u8; 4]> + TablesOf<[u8; 16]>> Tables for T {}

/// How long a new guard admits replies to requests that it may have missed, in nanoseconds.
pub const WARM_UP: u64 = 5_000_000_000;

/// What the judge says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not the guard's business: passed untouched and uncounted.
    Foreign,
    /// On port 123: admitted or dropped, and counted, for this reason.
    Judged(Reason),
}

/// Judges a frame that arrives at this host.
///
/// Where several reasons to drop a packet hold, the first in this order is given: `header-chain`,
/// `malformed`, `fragment`, `length` (of UDP against IP), `private`, `version`, `mode`, `length`
/// (for the mode), `unlisted`, `role`, `oversize`, `zero-origin`, `origin`, `unsolicited`.
///
/// `now` gives nanoseconds of boot time; it is asked only where a grant has an end or a request is
/// found, because reading the clock costs as much as everything before it.
#[inline(always)]
pub fn judge<F, T>(frame: &F, now: impl Fn() -> u64, limits: Limits, tables: &T) -> Verdict
where
    F: Frame + ?Sized,
    T: Tables,
{
    match packet::walk(frame, limits.link) {
        Packet::Foreign => Verdict::Foreign,
        Packet::Bad(reason) => Verdict::Judged(reason),
        Packet::Datagram(datagram) => Verdict::Judged(rule(frame, &datagram, now, limits, tables)),
    }
}

/// Judges a datagram on port 123 that the walk found: the second half of [`judge`].
#[inline(always)]
pub fn rule<F, T>(
    frame: &F,
    datagram: &Datagram,
    now: impl Fn() -> u64,
    limits: Limits,
    tables: &T,
) -> Reason
where
    F: Frame + ?Sized,
    T: Tables,
{
    let part = match part(frame, datagram, limits.link) {
        Ok(part) => part,
        Err(reason) => return reason,
    };
    match datagram.family {
        Family::V4 => play::<[u8; 4], F, T>(frame, datagram, part, now, limits, tables),
        Family::V6 => play::<[u8; 16], F, T>(frame, datagram, part, now, limits, tables),
    }
}

/// The part a packet plays: any one of `roles` lets its source play it, with this proof.
#[derive(Clone, Copy)]
struct Part {
    roles: u32,
    proof: Proof,
}

/// What a packet has to prove besides its source's role.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Nothing.
    None,
    /// That it answers a request.
    Answer,
    /// That we send its source symmetric packets.
    Association,
}

impl Part {
    const fn of(role: Role) -> Self {
        Self {
            roles: role.bit(),
            proof: Proof::None,
        }
    }

    const fn with(role: Role, proof: Proof) -> Self {
        Self {
            roles: role.bit(),
            proof,
        }
    }
}

/// Finds the part a datagram plays from its mode, version and ports, or why it can play none.
#[inline(always)]
fn part<F: Frame + ?Sized>(frame: &F, datagram: &Datagram, link: Link) -> Result<Part, Reason> {
    if datagram.payload_len == 0 {
        return Err(Reason::Length);
    }
    let first = FirstByte(frame.load_u8(datagram.payload).ok_or(Reason::Length)?);
    let (version, mode) = (first.version(), first.mode());
    if mode == Mode::Private {
        return Err(Reason::Private);
    }
    if version == 0 || version > 5 {
        return Err(Reason::Version);
    }
    // NTPv5 has clients and servers only (draft-ietf-ntp-ntpv5).
    if version == 5 && !matches!(mode, Mode::Client | Mode::Server) {
        return Err(Reason::Mode);
    }
    let to_ntp = datagram.destination_port == ntp::PORT;
    let from_ntp = datagram.source_port == ntp::PORT;
    let (part, shortest) = match mode {
        Mode::Server if from_ntp => (Part::with(Role::Server, Proof::Answer), ntp::HEADER_LEN),
        Mode::Client if to_ntp => (Part::of(Role::Client), ntp::HEADER_LEN),
        // chrony and Windows take it for a request, so a client may send it too.
        Mode::SymmetricActive if to_ntp => (
            Part {
                roles: Role::Peer.bit() | Role::Client.bit(),
                proof: Proof::None,
            },
            ntp::HEADER_LEN,
        ),
        Mode::SymmetricPassive if to_ntp => {
            (Part::with(Role::Peer, Proof::Association), ntp::HEADER_LEN)
        }
        Mode::Broadcast if to_ntp && is_broadcast(frame, datagram, link) => {
            (Part::of(Role::Broadcast), ntp::HEADER_LEN)
        }
        // Version 1 had no modes (RFC 1059): its clients send 0 here.
        Mode::Reserved if version == 1 && to_ntp && !from_ntp => {
            (Part::of(Role::Client), ntp::HEADER_LEN)
        }
        Mode::Control => {
            let second = frame.load_u8(datagram.payload + 1).ok_or(Reason::Length)?;
            let at_home = if ntp::is_response(second) {
                from_ntp
            } else {
                to_ntp
            };
            if !at_home {
                return Err(Reason::Mode);
            }
            (Part::of(Role::Control), ntp::CONTROL_HEADER_LEN)
        }
        _ => return Err(Reason::Mode),
    };
    // The stack drops a frame that ends before its packet does: it must not count as admitted.
    let last = frame.load_u8(datagram.payload + shortest - 1);
    if usize::from(datagram.payload_len) < shortest || last.is_none() {
        return Err(Reason::Length);
    }
    Ok(part)
}

/// Whether a datagram was sent to many: the NTP group, the limited broadcast address, or a
/// network's own, which the link alone can tell apart from a host's.
#[inline(always)]
fn is_broadcast<F: Frame + ?Sized>(frame: &F, datagram: &Datagram, link: Link) -> bool {
    match datagram.family {
        Family::V4 => {
            let to_group = <[u8; 4]>::destination(frame, datagram)
                .is_some_and(|to| to == ntp::GROUP_V4 || to == ntp::LIMITED_BROADCAST_V4);
            to_group || link == Link::Ethernet && frame.load::<6>(0) == Some([0xff; 6])
        }
        Family::V6 => <[u8; 16]>::destination(frame, datagram).is_some_and(ntp::is_group_v6),
    }
}

/// Judges a packet by what its source may be and, where its part has one, by its proof.
#[inline(always)]
fn play<A, F, T>(
    frame: &F,
    datagram: &Datagram,
    part: Part,
    now: impl Fn() -> u64,
    limits: Limits,
    tables: &T,
) -> Reason
where
    A: Address,
    F: Frame + ?Sized,
    T: TablesOf<A>,
{
    let Some(from) = A::source(frame, datagram) else {
        return Reason::Malformed;
    };
    let standing = standing(tables, from, part.roles, &now);
    match part.proof {
        Proof::Answer if limits.track => {
            proof::answer(frame, datagram, from, standing, now, limits, tables)
        }
        Proof::Association if limits.track => {
            proof::association(frame, datagram, from, standing, limits, tables)
        }
        _ => standing.reason(),
    }
}

/// What the tables say of an address and a set of roles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It holds one of them, and its packet is admitted for this reason.
    Holds(Reason),
    /// It is granted something, or denied it, but none of these.
    Lacks,
    /// Somebody cut it off by hand.
    Banned,
    /// Nobody granted it anything.
    Unlisted,
}

impl Standing {
    /// Why a packet that needs no other proof is admitted or dropped.
    #[inline(always)]
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Holds(reason) => reason,
            Self::Lacks | Self::Banned => Reason::Role,
            Self::Unlisted => Reason::Unlisted,
        }
    }
}

/// Asks for the address's own grant and then, unless that settles it, for its prefix's.
#[inline(always)]
pub(crate) fn standing<A, T>(tables: &T, address: A, roles: u32, now: &impl Fn() -> u64) -> Standing
where
    A: Address,
    T: TablesOf<A>,
{
    let mut without = Standing::Unlisted;
    if let Some(grant) = tables.grant(address) {
        match held(&grant, roles, now) {
            Held::Yes(reason) => return Standing::Holds(reason),
            Held::Denied if grant.roles & BAN != 0 => return Standing::Banned,
            Held::Denied => return Standing::Lacks,
            Held::No => without = Standing::Lacks,
        }
    }
    if let Some(grant) = tables.prefix(address) {
        match held(&grant, roles, now) {
            Held::Yes(reason) => return Standing::Holds(reason),
            Held::Denied if grant.roles & BAN != 0 => without = Standing::Banned,
            Held::Denied | Held::No => without = Standing::Lacks,
        }
    }
    without
}

/// Whether a grant holds a role that is asked for.
enum Held {
    /// It does, and the packet is admitted for this reason.
    Yes(Reason),
    /// It does not, and a wider prefix may.
    No,
    /// It does not, and says that no wider prefix may either.
    Denied,
}

#[inline(always)]
fn held(grant: &Grant, roles: u32, now: &impl Fn() -> u64) -> Held {
    for (role, reason) in [
        (Role::Server, Reason::Server),
        (Role::Client, Reason::Client),
        (Role::Peer, Reason::Peer),
        (Role::Broadcast, Reason::Broadcast),
        (Role::Control, Reason::Control),
    ] {
        if grant.roles & roles & role.bit() == 0 {
            continue;
        }
        let end = grant.expires.get(role);
        if end == 0 || (now() / NANOSECONDS) < u64::from(end) {
            return Held::Yes(reason);
        }
    }
    if grant.roles & DENY != 0 {
        Held::Denied
    } else {
        Held::No
    }
}

/// In a second.
const NANOSECONDS: u64 = 1_000_000_000;
