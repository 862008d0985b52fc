//! What becomes of packets that the judge refuses: counted for their server, or admitted after all.

use crate::{
    address::Address,
    frame::Frame,
    judge::{Clocks, Limits, Standing, TablesOf, has_ended, may_know, own_grant, standing},
    packet::Datagram,
    part::{self, Part},
    proof,
    reason::Reason,
    refusals::Cause,
    tables::{DENY, Grant, LONG_REPLIES, Role},
};

/// Whether the replies of a server may be longer than what they answer, by [`LONG_REPLIES`].
#[inline(always)]
pub(crate) fn may_be_long<A, F, C, T>(
    frame: &F,
    address: A,
    elsewhere: Option<u16>,
    clocks: &C,
    tables: &T,
) -> bool
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    if let Some(grant) = own_grant(frame, address, elsewhere, tables) {
        if allows_long(&grant, clocks) {
            return true;
        }
        if grant.roles & DENY != 0 {
            return false;
        }
    }
    elsewhere.is_none()
        && tables
            .prefix(address)
            .is_some_and(|grant| allows_long(&grant, clocks))
}

#[inline(always)]
fn allows_long<C: Clocks>(grant: &Grant, clocks: &C) -> bool {
    let needed = LONG_REPLIES | Role::Server.bit();
    grant.roles & needed == needed && !has_ended(grant.expires.server, clocks)
}

/// What becomes of a packet that was refused, of which the judge said this much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The part that it plays; none where it plays none.
    pub part: Part,
    /// Why it was refused.
    pub reason: Reason,
}

/// Takes up a refused packet: one that is too long is judged anew, since its server may be granted that;
/// and what stays refused is counted for its server. Gives the reason that holds in the end.
///
/// It is a step of its own so that what is admitted does not pay for it.
#[inline(always)]
pub fn refuse<A, F, C, T>(
    frame: &F,
    datagram: &Datagram,
    refused: Refused,
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
    let Refused { part, reason } = refused;
    let server = A::source(frame, datagram);
    if !part.elsewhere && !may_know(server, tables) {
        return reason;
    }
    let (reason, roles) = match reason {
        Reason::Oversize => {
            let reason =
                proof::long_answer::<A, F, C, T>(frame, datagram, part, clocks, limits, tables);
            (reason, part.roles)
        }
        Reason::Mode if part::is_to_group::<A, F>(frame, datagram) => {
            let reason = to_group::<A, F, C, T>(frame, datagram, clocks, tables);
            (reason, Role::Broadcast.bit())
        }
        other => (other, part.roles),
    };
    if let Some(cause) = Cause::of(reason, roles) {
        tables.count_refused(server, frame.interface(), cause);
    }
    reason
}

/// Judges a broadcast to another group than NTP's own: where the group is granted `broadcast`, as
/// `multicastclient` does, it is as good as these. From an address without any grant it stays what it was.
#[inline(always)]
fn to_group<A, F, C, T>(frame: &F, datagram: &Datagram, clocks: &C, tables: &T) -> Reason
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    let role = Role::Broadcast.bit();
    let group = A::destination(frame, datagram);
    if !matches!(
        standing(frame, group, None, role, clocks, tables),
        Standing::Holds(_)
    ) {
        return Reason::Mode;
    }
    match standing(
        frame,
        A::source(frame, datagram),
        None,
        role,
        clocks,
        tables,
    ) {
        Standing::Unlisted => Reason::Mode,
        other => other.reason(),
    }
}
