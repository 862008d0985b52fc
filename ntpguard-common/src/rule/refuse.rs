//! What becomes of packets that the judge refuses: counted for their server, or admitted after all.

use super::{
    access::{Access, access, has_ended, may_know, own_grant},
    classify::{self, PacketClass},
    policy::Policy,
    proof,
};
use crate::{
    clock::Clocks,
    maps::{
        lookup::TablesOf,
        refusals::Cause,
        tables::{DENY, Grant, LONG_REPLIES, Role},
    },
    reason::Reason,
    wire::{address::Address, frame::Frame, packet::Datagram},
};

/// Whether the replies of a server may be longer than what they answer, by [`LONG_REPLIES`].
#[inline(always)]
pub(crate) fn may_be_long<A, F, C, T>(
    frame: &F,
    address: A,
    custom_port: Option<u16>,
    clocks: &C,
    tables: &T,
) -> bool
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    if let Some(grant) = own_grant(frame, address, custom_port, tables) {
        if allows_long(&grant, clocks) {
            return true;
        }
        if grant.roles & DENY != 0 {
            return false;
        }
    }
    custom_port.is_none()
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
    pub class: PacketClass,
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
    policy: Policy,
    tables: &T,
) -> Reason
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    let Refused { class, reason } = refused;
    let server = A::source(frame, datagram);
    if !class.custom_port && !may_know(server, tables) {
        return reason;
    }
    let (reason, roles) = match reason {
        Reason::Oversize => {
            let reason =
                proof::long_answer::<A, F, C, T>(frame, datagram, class, clocks, policy, tables);
            (reason, class.roles)
        }
        Reason::Mode if classify::is_to_group::<A, F>(frame, datagram) => {
            let reason = to_group::<A, F, C, T>(frame, datagram, clocks, tables);
            (reason, Role::Broadcast.bit())
        }
        other => (other, class.roles),
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
        access(frame, group, None, role, clocks, tables),
        Access::Holds(_)
    ) {
        return Reason::Mode;
    }
    match access(
        frame,
        A::source(frame, datagram),
        None,
        role,
        clocks,
        tables,
    ) {
        Access::Unlisted => Reason::Mode,
        other => other.reason(),
    }
}
