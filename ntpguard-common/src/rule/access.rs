//! What a packet's source is granted, against what its class needs.

use crate::{
    clock::{Clocks, NANOSECONDS},
    maps::{
        endpoint::Endpoint,
        lookup::TablesOf,
        tables::{DENY, DENY_ALWAYS, Grant, Role},
    },
    reason::Reason,
    wire::{address::Address, frame::Frame},
};

/// What the tables say of an address and a set of roles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It holds one of them, and its packet is admitted for this reason.
    Holds(Reason),
    /// It is granted something, or denied it, but none of these.
    Lacks,
    /// Somebody cut it off by hand.
    DeniedAlways,
    /// Nobody granted it anything.
    Unlisted,
}

impl Access {
    /// Why a packet that needs no other proof is admitted or dropped.
    #[inline(always)]
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Holds(reason) => reason,
            Self::Lacks | Self::DeniedAlways => Reason::Role,
            Self::Unlisted => Reason::Unlisted,
        }
    }
}

/// Asks for the address's own grant and then, unless that settles it, for its prefix's. What is
/// granted to a server that is asked `custom_port`, at a port other than 123, stands alone.
#[inline(always)]
pub(crate) fn access<A, F, C, T>(
    frame: &F,
    address: A,
    custom_port: Option<u16>,
    roles: u32,
    clocks: &C,
    tables: &T,
) -> Access
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    let mut without = Access::Unlisted;
    if let Some(grant) = own_grant(frame, address, custom_port, tables) {
        match check_roles(&grant, roles, clocks) {
            RoleCheck::Yes(reason) => return Access::Holds(reason),
            RoleCheck::Denied if grant.roles & DENY_ALWAYS != 0 => return Access::DeniedAlways,
            RoleCheck::Denied => return Access::Lacks,
            RoleCheck::No => without = Access::Lacks,
        }
    }
    if custom_port.is_none()
        && let Some(grant) = tables.prefix(address)
    {
        match check_roles(&grant, roles, clocks) {
            RoleCheck::Yes(reason) => return Access::Holds(reason),
            RoleCheck::Denied if grant.roles & DENY_ALWAYS != 0 => without = Access::DeniedAlways,
            RoleCheck::Denied | RoleCheck::No => without = Access::Lacks,
        }
    }
    without
}

/// Whether a grant holds a role that is asked for.
enum RoleCheck {
    /// It does, and the packet is admitted for this reason.
    Yes(Reason),
    /// It does not, and a wider prefix may.
    No,
    /// It does not, and says that no wider prefix may either.
    Denied,
}

#[inline(always)]
fn check_roles<C: Clocks>(grant: &Grant, roles: u32, clocks: &C) -> RoleCheck {
    for (role, reason) in [
        (Role::Server, Reason::Server),
        (Role::Client, Reason::Client),
        (Role::Peer, Reason::Peer),
        (Role::Broadcast, Reason::Broadcast),
        (Role::Control, Reason::Control),
    ] {
        if grant.roles & roles & role.bit() != 0 && !has_ended(grant.expires.get(role), clocks) {
            return RoleCheck::Yes(reason);
        }
    }
    if grant.roles & DENY != 0 {
        RoleCheck::Denied
    } else {
        RoleCheck::No
    }
}

/// Whether a role that ends at `end`, seconds of boot time or 0 for never, has ended.
#[inline(always)]
pub(crate) fn has_ended<C: Clocks>(end: u32, clocks: &C) -> bool {
    end != 0 && clocks.boot() / NANOSECONDS >= u64::from(end)
}

/// What is granted to the address itself.
#[inline(always)]
pub(crate) fn own_grant<A, F, T>(
    frame: &F,
    address: A,
    custom_port: Option<u16>,
    tables: &T,
) -> Option<Grant>
where
    A: Address,
    F: Frame + ?Sized,
    T: TablesOf<A>,
{
    let interface = frame.interface();
    match custom_port {
        Some(port) => tables.grant_at(Endpoint::new(address, port), interface),
        None => tables.grant(address, interface),
    }
}

/// Whether anything may be known of an address.
#[inline(always)]
pub(crate) fn may_know<A: Copy, T: TablesOf<A>>(address: A, tables: &T) -> bool {
    tables.may_grant(address) || tables.may_trust(address)
}
