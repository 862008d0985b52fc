//! The proof that a packet answers what this host sent.
//!
//! Daemons check this too, but some reset their state first (CVE-2016-9042, CVE-2020-11868), and
//! none spends nothing on what it refuses.

use core::hint::black_box;

use super::{
    access::{Access, access},
    classify::PacketClass,
    policy::{Learn, Policy},
    refuse::may_be_long,
};
use crate::{
    clock::Clocks,
    maps::{
        lookup::{Sender, TablesOf},
        received::Received,
        refusals::LONGER_BY,
        requests::{Request, Sent},
    },
    reason::Reason,
    wire::{
        address::Address,
        frame::Frame,
        ntp::{self, NO_TIMESTAMP, Timestamp},
        packet::Datagram,
    },
};

/// Judges a reply: it must carry the token of an open request, be no longer than that, and be the
/// first to come. Its receive timestamp is kept, to know requests in interleaved mode by.
#[inline(always)]
pub(crate) fn answer<A, F, C, T>(
    frame: &F,
    datagram: &Datagram,
    class: PacketClass,
    clocks: &C,
    policy: Policy,
    tables: &T,
) -> Reason
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    let request = answered(frame, datagram);
    let reason = prove(frame, datagram, &request, class, clocks, policy, tables);
    if reason.admits() {
        keep_received(frame, datagram, &request, tables);
    }
    reason
}

/// The request that a reply says it answers.
#[inline(always)]
fn answered<A: Address, F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> Request<A> {
    Request {
        server: A::source(frame, datagram),
        local: A::destination(frame, datagram),
        server_port: datagram.source_port,
        local_port: datagram.destination_port,
        token: frame.field(datagram.payload + ntp::ORIGIN),
    }
}

/// Judges a reply that is longer than its request anew, by what its server was granted besides.
#[inline(always)]
pub(crate) fn long_answer<A, F, C, T>(
    frame: &F,
    datagram: &Datagram,
    class: PacketClass,
    clocks: &C,
    policy: Policy,
    tables: &T,
) -> Reason
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    let request = answered(frame, datagram);
    if !may_be_long(
        frame,
        request.server,
        class.custom_port_at(datagram),
        clocks,
        tables,
    ) {
        return Reason::Oversize;
    }
    let length = u32::from(datagram.payload_len);
    let trusted = if policy.learn == Learn::Off {
        Asked::No
    } else {
        asked(Sender::Trusted, &request, clocks, policy, tables)
    };
    let (sender, sent) = if let Asked::Open(sent) = trusted {
        (Sender::Trusted, sent)
    } else if let Asked::Open(sent) = asked(Sender::Other, &request, clocks, policy, tables) {
        (Sender::Other, sent)
    } else {
        return Reason::Oversize;
    };
    let reason = redeem(tables, sender, &request, &sent, length, LONGER_BY);
    if reason.admits() {
        keep_received(frame, datagram, &request, tables);
    }
    reason
}

/// Keeps the receive timestamp of an admitted reply.
#[inline(always)]
fn keep_received<A, F, T>(frame: &F, datagram: &Datagram, request: &Request<A>, tables: &T)
where
    A: Address,
    F: Frame + ?Sized,
    T: TablesOf<A>,
{
    let receive: Timestamp = frame.field(datagram.payload + ntp::RECEIVE);
    let transmit: Timestamp = frame.field(datagram.payload + ntp::TRANSMIT);
    if tells_modes_apart(receive, transmit) {
        tables.keep(Received::new(request.server, request.local, receive));
    }
}

#[inline(always)]
fn prove<A, F, C, T>(
    frame: &F,
    datagram: &Datagram,
    request: &Request<A>,
    class: PacketClass,
    clocks: &C,
    policy: Policy,
    tables: &T,
) -> Reason
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    let length = u32::from(datagram.payload_len);
    let may_trust =
        policy.learn != Learn::Off && (class.custom_port || tables.may_trust(request.server));
    let trusted = if may_trust {
        asked(Sender::Trusted, request, clocks, policy, tables)
    } else {
        Asked::No
    };
    // What a trusted sender asked for needs no grant, so none is looked for.
    let access = if !matches!(trusted, Asked::No) && !tables.has_always_denied() {
        Access::Lacks
    } else {
        access(
            frame,
            request.server,
            class.custom_port_at(datagram),
            class.roles,
            clocks,
            tables,
        )
    };
    if access == Access::DeniedAlways {
        return Reason::Role;
    }
    match trusted {
        Asked::Open(sent) => return redeem(tables, Sender::Trusted, request, &sent, length, 0),
        Asked::Late => return Reason::Late,
        Asked::No => {}
    }
    if policy.learn != Learn::Any && !matches!(access, Access::Holds(_)) {
        return access.reason();
    }
    match asked(Sender::Other, request, clocks, policy, tables) {
        Asked::Open(sent) => return redeem(tables, Sender::Other, request, &sent, length, 0),
        Asked::Late => return Reason::Late,
        Asked::No => {}
    }
    let asked = tables.last_asked(request.server);
    // Who was never asked is a stranger, also where everybody's requests count.
    if asked.is_none() && !matches!(access, Access::Holds(_)) {
        return access.reason();
    }
    if request.token == NO_TIMESTAMP {
        return Reason::ZeroOrigin;
    }
    let now = clocks.tick();
    // After this, a daemon does not take the reply to an earlier request that was missed either. The
    // compiler is kept from reckoning before it knows that there is such a time: until then the
    // verifier sees a pointer in that register.
    if let Some(at) = asked
        && Sent::in_time(black_box(at), now, policy.window)
    {
        return Reason::Origin;
    }
    if now < tables.warm_until()
        && matches!(access, Access::Holds(_))
        && may_be_missed(frame, datagram)
    {
        return Reason::WarmUp;
    }
    Reason::Unsolicited
}

/// What a sender asked, given what a reply says.
enum Asked {
    /// The request may still be answered.
    Open(Sent),
    /// It was sent too long ago.
    Late,
    /// No such request is known.
    No,
}

#[inline(always)]
fn asked<A, C, T>(
    sender: Sender,
    request: &Request<A>,
    clocks: &C,
    policy: Policy,
    tables: &T,
) -> Asked
where
    A: Address,
    C: Clocks,
    T: TablesOf<A>,
{
    let Some(sent) = tables.request(sender, request) else {
        return Asked::No;
    };
    if Sent::in_time(sent.at, clocks.tick(), policy.window) {
        return Asked::Open(sent);
    }
    // No timestamp is that of every request without one, and proves nothing.
    if request.token == NO_TIMESTAMP {
        return Asked::No;
    }
    Asked::Late
}

/// Admits the reply to an open request if it is the first one, and at most `longer` bytes longer.
#[inline(always)]
fn redeem<A, T>(
    tables: &T,
    sender: Sender,
    request: &Request<A>,
    sent: &Sent,
    length: u32,
    longer: u32,
) -> Reason
where
    A: Address,
    T: TablesOf<A>,
{
    // RFC 8915 section 8.4. The request stays open: its true reply may yet come.
    if length > sent.length + longer {
        return Reason::Oversize;
    }
    if !tables.take(sender, request) {
        return Reason::Origin;
    }
    // Of a sibling's match the true token stays open: to guess the sibling must not cost the reply.
    if sent.interleaved != 0 {
        let sibling = Request {
            token: sent.sibling,
            ..*request
        };
        tables.take(sender, &sibling);
    }
    Reason::Server
}

/// Whether a reply that nothing is known of may answer a request sent before the guard came.
#[inline(always)]
fn may_be_missed<F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> bool {
    let is_kiss = frame.load_u8(datagram.payload + ntp::STRATUM) == Some(0);
    !is_kiss && datagram.payload_len <= ntp::LONGEST
}

/// Judges a symmetric passive packet: we must send its source symmetric packets. Its timestamps
/// prove nothing, since a peer's origin may be zero or old (RFC 5905 section 9.2).
#[inline(always)]
pub(crate) fn association<A, F, T>(
    frame: &F,
    datagram: &Datagram,
    from: A,
    access: Access,
    policy: Policy,
    tables: &T,
) -> Reason
where
    A: Address,
    F: Frame + ?Sized,
    T: TablesOf<A>,
{
    if !matches!(access, Access::Holds(_)) {
        return access.reason();
    }
    let association = Request::association(from, A::destination(frame, datagram));
    if policy.learn != Learn::Off && tables.request(Sender::Trusted, &association).is_some() {
        return Reason::Peer;
    }
    if tables.request(Sender::Other, &association).is_some() {
        return Reason::Peer;
    }
    Reason::Unsolicited
}

/// Whether a reply with these timestamps tells the modes apart. A kiss of death of NTPsec's has one
/// timestamp everywhere, and so may a server whose clock is coarse.
#[inline(always)]
pub(crate) fn tells_modes_apart(receive: Timestamp, transmit: Timestamp) -> bool {
    receive != NO_TIMESTAMP && receive != transmit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_that_is_also_the_transmit_timestamp_tells_nothing() {
        assert!(tells_modes_apart(*b"received", *b"transmit"));
        assert!(!tells_modes_apart(*b"received", *b"received"));
        assert!(!tells_modes_apart(NO_TIMESTAMP, *b"transmit"));
    }
}
