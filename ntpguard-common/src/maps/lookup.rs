//! What the judge asks of the kernel's maps: the kernel answers from the maps, tests from a model.

use super::{
    endpoint::CustomPorts,
    rates::Rates,
    received::Received,
    refusals::Cause,
    requests::{Request, Sent},
    tables::Grant,
};
use crate::clock::Clocks;

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
pub trait TablesOf<A>: CustomPorts {
    /// Whether an address, or a prefix that holds it, may be granted anything. Cheaper than to look, and
    /// right whenever it says no.
    fn may_grant(&self, address: A) -> bool;

    /// Whether a trusted sender's request to port 123 of a server may have been tracked. As cheap, and as
    /// right.
    fn may_trust(&self, server: A) -> bool;

    /// Whether anybody is cut off by hand ([`DENY_ALWAYS`](super::tables::DENY_ALWAYS)), of this family or not.
    fn has_always_denied(&self) -> bool;

    /// The grant of one address, on the interface of an index: see [`link_local`](crate::wire::link_local).
    fn grant(&self, address: A, interface: u32) -> Option<Grant>;

    /// The grant of the longest prefix that holds `address`.
    fn prefix(&self, address: A) -> Option<Grant>;

    /// A request of such a sender, open or not any more.
    fn request(&self, sender: Sender, request: &Request<A>) -> Option<Sent>;

    /// Takes a request out of the tables. Says whether it was there: of all who take one at the
    /// same time, one hears yes.
    fn take(&self, sender: Sender, request: &Request<A>) -> bool;

    /// When a server was last sent a request that was tracked, in nanoseconds of monotonic time.
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

/// Where what is sent is written down, for addresses of one family. Times are nanoseconds of
/// monotonic time.
pub trait TrackerOf<A>: TablesOf<A> {
    /// Tracks a request, or that we send a peer symmetric packets.
    fn track(&self, sender: Sender, request: &Request<A>, sent: &Sent);

    /// Remembers that a request which needs no grant went to `server` at `now`.
    fn learn(&self, server: A, now: u64);

    /// Remembers that a request which needs a grant went to `server` at `now`.
    fn asked(&self, server: A, now: u64);
}

/// Where what is sent is written down.
pub trait Tracker: TrackerOf<[u8; 4]> + TrackerOf<[u8; 16]> {}

impl<T: TrackerOf<[u8; 4]> + TrackerOf<[u8; 16]>> Tracker for T {}
