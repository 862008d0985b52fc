//! The rule: which packets on port 123 are admitted.

use crate::{
    frame::Frame,
    ntp::{self, FirstByte, Mode},
    packet::{self, Datagram, Family, Link, Packet},
    reason::Reason,
    tables::{DENY, Grant, Role},
};

/// What is fixed while a program is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What stands at the start of each frame.
    pub link: Link,
}

/// What the judge asks of the kernel's tables. Look-ups return copies.
pub trait Tables {
    /// The grant of one IPv4 address, in network order.
    fn grant_v4(&self, address: [u8; 4]) -> Option<Grant>;
    /// The grant of one IPv6 address, in network order.
    fn grant_v6(&self, address: [u8; 16]) -> Option<Grant>;
    /// The grant of the longest IPv4 prefix that holds `address`.
    fn prefix_v4(&self, address: [u8; 4]) -> Option<Grant>;
    /// The grant of the longest IPv6 prefix that holds `address`.
    fn prefix_v6(&self, address: [u8; 16]) -> Option<Grant>;
}

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
/// (for the mode), `unlisted`, `role`.
///
/// `now` gives seconds of boot time; it is asked only where a grant has an end, because reading
/// the clock costs as much as everything before it.
#[inline(always)]
pub fn judge<F, T>(frame: &F, now: impl Fn() -> u32, limits: &Limits, tables: &T) -> Verdict
where
    F: Frame + ?Sized,
    T: Tables,
{
    match packet::walk(frame, limits.link) {
        Packet::Foreign => Verdict::Foreign,
        Packet::Bad(reason) => Verdict::Judged(reason),
        Packet::Datagram(datagram) => {
            let reason = match part(frame, &datagram, limits.link) {
                Ok(part) => grant(frame, &datagram, part, now, tables),
                Err(reason) => reason,
            };
            Verdict::Judged(reason)
        }
    }
}

/// The part a packet plays: any one of `roles` lets its source play it.
#[derive(Clone, Copy)]
struct Part {
    roles: u32,
}

impl Part {
    const fn of(role: Role) -> Self {
        Self { roles: role.bit() }
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
        Mode::Server if from_ntp => (Part::of(Role::Server), ntp::HEADER_LEN),
        Mode::Client if to_ntp => (Part::of(Role::Client), ntp::HEADER_LEN),
        // chrony and Windows take it for a request, so a client may send it too.
        Mode::SymmetricActive if to_ntp => (
            Part {
                roles: Role::Peer.bit() | Role::Client.bit(),
            },
            ntp::HEADER_LEN,
        ),
        Mode::SymmetricPassive if to_ntp => (Part::of(Role::Peer), ntp::HEADER_LEN),
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
            let to_group = datagram
                .destination_v4(frame)
                .is_some_and(|to| to == ntp::GROUP_V4 || to == ntp::LIMITED_BROADCAST_V4);
            to_group || link == Link::Ethernet && frame.load::<6>(0) == Some([0xff; 6])
        }
        Family::V6 => datagram.destination_v6(frame).is_some_and(ntp::is_group_v6),
    }
}

/// Looks for a grant that lets the datagram's source play its part.
#[inline(always)]
fn grant<F, T>(
    frame: &F,
    datagram: &Datagram,
    part: Part,
    now: impl Fn() -> u32,
    tables: &T,
) -> Reason
where
    F: Frame + ?Sized,
    T: Tables,
{
    match datagram.family {
        Family::V4 => match datagram.source_v4(frame) {
            Some(from) => decide(
                part,
                now,
                || tables.grant_v4(from),
                || tables.prefix_v4(from),
            ),
            None => Reason::Malformed,
        },
        Family::V6 => match datagram.source_v6(frame) {
            Some(from) => decide(
                part,
                now,
                || tables.grant_v6(from),
                || tables.prefix_v6(from),
            ),
            None => Reason::Malformed,
        },
    }
}

/// Asks for the address's own grant and then, unless that settles it, for its prefix's.
#[inline(always)]
fn decide(
    part: Part,
    now: impl Fn() -> u32,
    own: impl Fn() -> Option<Grant>,
    prefix: impl Fn() -> Option<Grant>,
) -> Reason {
    let mut listed = false;
    if let Some(grant) = own() {
        match held(&grant, part, &now) {
            Held::Yes(reason) => return reason,
            Held::Denied => return Reason::Role,
            Held::No => listed = true,
        }
    }
    if let Some(grant) = prefix() {
        match held(&grant, part, &now) {
            Held::Yes(reason) => return reason,
            Held::Denied | Held::No => listed = true,
        }
    }
    if listed {
        Reason::Role
    } else {
        Reason::Unlisted
    }
}

/// Whether a grant holds a role that a part asks for.
enum Held {
    /// It does, and the packet is admitted for this reason.
    Yes(Reason),
    /// It does not, and a wider prefix may.
    No,
    /// It does not, and says that no wider prefix may either.
    Denied,
}

#[inline(always)]
fn held(grant: &Grant, part: Part, now: &impl Fn() -> u32) -> Held {
    for (role, reason) in [
        (Role::Server, Reason::Server),
        (Role::Client, Reason::Client),
        (Role::Peer, Reason::Peer),
        (Role::Broadcast, Reason::Broadcast),
        (Role::Control, Reason::Control),
    ] {
        if grant.roles & part.roles & role.bit() == 0 {
            continue;
        }
        let end = grant.expires.get(role);
        if end == 0 || now() < end {
            return Held::Yes(reason);
        }
    }
    if grant.roles & DENY != 0 {
        Held::Denied
    } else {
        Held::No
    }
}
