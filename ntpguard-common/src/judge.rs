//! The rule: which packets of NTP's are admitted.

use crate::{
    address::Address,
    arrival::judge_arrived,
    elsewhere::{Elsewhere, Endpoint},
    frame::Frame,
    interleaved::Received,
    packet::{Datagram, Family, Link},
    part::{Part, Proof, part},
    proof,
    rates::Rates,
    reason::Reason,
    refusals::Cause,
    requests::{Request, Sent},
    stages::Inline,
    tables::{BAN, DENY, Grant, Role},
};

/// What is fixed while a program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What stands at the start of each frame.
    pub link: Link,
    /// Whether a reply must answer a request.
    pub track: bool,
    /// How long after its request a reply is admitted, in nanoseconds.
    pub window: u64,
    /// Whose requests admit replies whatever is granted.
    pub learn: Learn,
    /// Whether a request without a transmit timestamp may be answered (RFC 4330 section 5).
    pub zero_transmit: bool,
    /// How often clients may ask.
    pub rates: Rates,
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

/// The clocks by which packets are judged. Both are read only where the time matters, because the
/// precise one costs as much as everything else.
pub trait Clocks {
    /// Nanoseconds of boot time (`CLOCK_BOOTTIME`): grants end by it, asleep or not.
    fn boot(&self) -> u64;

    /// Nanoseconds of monotonic time (`CLOCK_MONOTONIC`), as of the last tick: requests live by it.
    fn tick(&self) -> u64;
}

/// Whose clocks a program judges by.
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
pub trait TablesOf<A>: Elsewhere {
    /// Whether an address, or a prefix that holds it, may be granted anything. Cheaper than to look, and
    /// right whenever it says no.
    fn may_grant(&self, address: A) -> bool;

    /// Whether a trusted sender's request to port 123 of a server may have been noted. As cheap, and as
    /// right.
    fn may_trust(&self, server: A) -> bool;

    /// Whether anybody is cut off by hand ([`BAN`]), of this family or not.
    fn has_bans(&self) -> bool;

    /// The grant of one address, on the interface of an index: see [`link_local`](crate::link_local).
    fn grant(&self, address: A, interface: u32) -> Option<Grant>;

    /// The grant of the longest prefix that holds `address`.
    fn prefix(&self, address: A) -> Option<Grant>;

    /// A request of such a sender, open or not any more.
    fn request(&self, sender: Sender, request: &Request<A>) -> Option<Sent>;

    /// Takes a request out of the tables. Says whether it was there: of all who take one at the
    /// same time, one hears yes.
    fn take(&self, sender: Sender, request: &Request<A>) -> bool;

    /// When a server was last sent a request that was noted, in nanoseconds of monotonic time.
    fn last_asked(&self, server: A) -> Option<u64>;

    /// Keeps a receive timestamp that a server gave this host.
    fn keep(&self, received: Received);

    /// Whether a server gave this host that timestamp, as far as is known.
    fn was_given(&self, received: Received) -> bool;

    /// Until when replies from granted servers pass without a request, because ones sent before
    /// the guard came may be open: nanoseconds of monotonic time, 0 for never.
    fn warm_until(&self) -> u64;

    /// Counts a refused packet of an address, if that is a server's: one that is asked, or granted to answer.
    /// `interface` is the index of the one that it came by.
    fn count_refused(&self, server: A, interface: u32, cause: Cause);

    /// Takes a request of a client out of what `rates` allow it. Says whether it is to be admitted.
    fn charge<C: Clocks>(&self, client: A, clocks: &C, rates: &Rates) -> bool;
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
    /// NTP's: admitted or dropped, and counted, for this reason.
    Judged(Reason),
}

/// Judges a frame that arrives at this host, all of it here.
///
/// Where several reasons to drop a packet hold, the first in this order is given: `header-chain`,
/// `malformed`, `fragment`, `length` (of UDP against IP), `coalesced`, `private`, `version`, `mode`, `length`
/// (for the mode), `unlisted`, `role`, `rate`, `late`, `oversize`, `zero-origin`, `origin`, `unsolicited`.
#[inline(always)]
pub fn judge<F, C, T>(frame: &F, clocks: &C, limits: Limits, tables: &T) -> Verdict
where
    F: Frame + ?Sized,
    C: Clocks,
    T: Tables,
{
    judge_arrived(&Inline {
        frame,
        clocks,
        limits,
        tables,
    })
}

/// Finds the part a datagram plays, or why to drop it without a look-up: it is flawed, can play none, or
/// comes from an address that nothing is known of. `elsewhere` says whether its source is a server
/// that is asked there, at another port than 123.
#[inline(always)]
pub fn screen<F, T>(
    frame: &F,
    datagram: &Datagram,
    link: Link,
    elsewhere: bool,
    tables: &T,
) -> Result<Part, Reason>
where
    F: Frame + ?Sized,
    T: Tables,
{
    if let Some(flaw) = datagram.flaw {
        return Err(flaw);
    }
    if frame.is_coalesced() {
        return Err(Reason::Coalesced);
    }
    let part = part(frame, datagram, link, elsewhere)?;
    if part.elsewhere {
        return Ok(part);
    }
    let may_know = match datagram.family {
        Family::V4 => may_know(<[u8; 4]>::source(frame, datagram), tables),
        Family::V6 => may_know(<[u8; 16]>::source(frame, datagram), tables),
    };
    if may_know {
        Ok(part)
    } else {
        Err(Reason::Unlisted)
    }
}

/// Whether anything may be known of an address.
#[inline(always)]
pub(crate) fn may_know<A: Copy, T: TablesOf<A>>(address: A, tables: &T) -> bool {
    tables.may_grant(address) || tables.may_trust(address)
}

/// Judges a datagram that may play its part: by what its source may be and, where its part has one,
/// by its proof.
#[inline(always)]
pub fn decide<A, F, C, T>(
    frame: &F,
    datagram: &Datagram,
    part: Part,
    clocks: &C,
    limits: Limits,
    tables: &T,
) -> Reason
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    if part.proof == Proof::Answer && limits.track {
        return proof::answer::<A, F, C, T>(frame, datagram, part, clocks, limits, tables);
    }
    let from = A::source(frame, datagram);
    let standing = standing(
        frame,
        from,
        part.elsewhere_at(datagram),
        part.roles,
        clocks,
        tables,
    );
    if part.proof == Proof::Association && limits.track {
        return proof::association(frame, datagram, from, standing, limits, tables);
    }
    if standing == Standing::Holds(Reason::Client)
        && !limits.rates.is_off()
        && !tables.charge(from, clocks, &limits.rates)
    {
        return Reason::Rate;
    }
    standing.reason()
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

/// Asks for the address's own grant and then, unless that settles it, for its prefix's. What is
/// granted to a server that is asked `elsewhere`, at a port other than 123, stands alone.
#[inline(always)]
pub(crate) fn standing<A, F, C, T>(
    frame: &F,
    address: A,
    elsewhere: Option<u16>,
    roles: u32,
    clocks: &C,
    tables: &T,
) -> Standing
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    let mut without = Standing::Unlisted;
    if let Some(grant) = own_grant(frame, address, elsewhere, tables) {
        match held(&grant, roles, clocks) {
            Held::Yes(reason) => return Standing::Holds(reason),
            Held::Denied if grant.roles & BAN != 0 => return Standing::Banned,
            Held::Denied => return Standing::Lacks,
            Held::No => without = Standing::Lacks,
        }
    }
    if elsewhere.is_none()
        && let Some(grant) = tables.prefix(address)
    {
        match held(&grant, roles, clocks) {
            Held::Yes(reason) => return Standing::Holds(reason),
            Held::Denied if grant.roles & BAN != 0 => without = Standing::Banned,
            Held::Denied | Held::No => without = Standing::Lacks,
        }
    }
    without
}

/// What is granted to the address itself.
#[inline(always)]
pub(crate) fn own_grant<A, F, T>(
    frame: &F,
    address: A,
    elsewhere: Option<u16>,
    tables: &T,
) -> Option<Grant>
where
    A: Address,
    F: Frame + ?Sized,
    T: TablesOf<A>,
{
    let interface = frame.interface();
    match elsewhere {
        Some(port) => tables.grant_at(Endpoint::new(address, port), interface),
        None => tables.grant(address, interface),
    }
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
fn held<C: Clocks>(grant: &Grant, roles: u32, clocks: &C) -> Held {
    for (role, reason) in [
        (Role::Server, Reason::Server),
        (Role::Client, Reason::Client),
        (Role::Peer, Reason::Peer),
        (Role::Broadcast, Reason::Broadcast),
        (Role::Control, Reason::Control),
    ] {
        if grant.roles & roles & role.bit() != 0 && !has_ended(grant.expires.get(role), clocks) {
            return Held::Yes(reason);
        }
    }
    if grant.roles & DENY != 0 {
        Held::Denied
    } else {
        Held::No
    }
}

/// Whether a role that ends at `end`, seconds of boot time or 0 for never, has ended.
#[inline(always)]
pub(crate) fn has_ended<C: Clocks>(end: u32, clocks: &C) -> bool {
    end != 0 && clocks.boot() / NANOSECONDS >= u64::from(end)
}

/// In a second.
pub(crate) const NANOSECONDS: u64 = 1_000_000_000;
