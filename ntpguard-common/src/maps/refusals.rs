//! Refused packets of servers, counted by server and cause.
//!
//! `COUNTERS` say how many packets are dropped and why, but not whose. Where a server is not heard, that
//! is the question, so the kernel counts here what it refuses of each address that this host asks or that
//! is granted to answer. No other address gets an entry: packets forged in a server's name raise a number,
//! and nothing that they claim takes memory.

use super::tables::{Grant, Role};
use crate::reason::Reason;

/// Servers whose refusals are kept; the map holds a value for each CPU.
pub const REFUSALS_SIZE: u32 = 1_024;

/// How much longer than its request a reply may be where its server was granted that, in bytes: the
/// longest MAC that a daemon sends (a key's number and a digest of 64 bytes) and the shortest extension
/// field that can stand without a MAC (RFC 7822 section 7.5.1.4).
pub const LONGER_BY: u32 = 4 + 64 + 28;

/// Why a packet of a server was refused: a [`Reason`], and for `role` which one it lacks. The number is
/// the place of the cause's counter in [`Refusals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Cause {
    /// The server is asked by a trusted sender alone, and this answers no open request.
    Unlisted = 0,
    /// It lacks the role `server`.
    RoleServer = 1,
    /// It lacks the role `peer`.
    RolePeer = 2,
    /// It lacks the role `broadcast`.
    RoleBroadcast = 3,
    /// It lacks the role `client`.
    RoleClient = 4,
    /// It lacks the role `control`.
    RoleControl = 5,
    /// It was not asked.
    Unsolicited = 6,
    /// It was asked, and the origin timestamp is another.
    Origin = 7,
    /// The origin timestamp is zero.
    ZeroOrigin = 8,
    /// Longer than the request.
    Oversize = 9,
    /// The request is not open any more.
    Late = 10,
    /// Too short.
    Length = 11,
    /// A version that NTP does not have.
    Version = 12,
    /// A mode that nothing may have on these ports.
    Mode = 13,
}

impl Cause {
    /// Every cause, by its number.
    pub const ALL: [Self; 14] = [
        Self::Unlisted,
        Self::RoleServer,
        Self::RolePeer,
        Self::RoleBroadcast,
        Self::RoleClient,
        Self::RoleControl,
        Self::Unsolicited,
        Self::Origin,
        Self::ZeroOrigin,
        Self::Oversize,
        Self::Late,
        Self::Length,
        Self::Version,
        Self::Mode,
    ];

    /// The cause of a refusal for `reason`, of a packet that any one of `roles` would do for; `None` for
    /// reasons that are not counted by server.
    #[inline(always)]
    pub const fn of(reason: Reason, roles: u32) -> Option<Self> {
        Some(match reason {
            Reason::Unlisted => Self::Unlisted,
            Reason::Role => Self::of_role(roles),
            Reason::Unsolicited => Self::Unsolicited,
            Reason::Origin => Self::Origin,
            Reason::ZeroOrigin => Self::ZeroOrigin,
            Reason::Oversize => Self::Oversize,
            Reason::Late => Self::Late,
            Reason::Length => Self::Length,
            Reason::Version => Self::Version,
            Reason::Mode => Self::Mode,
            _ => return None,
        })
    }

    #[inline(always)]
    const fn of_role(roles: u32) -> Self {
        if roles & Role::Server.bit() != 0 {
            Self::RoleServer
        } else if roles & Role::Peer.bit() != 0 {
            Self::RolePeer
        } else if roles & Role::Broadcast.bit() != 0 {
            Self::RoleBroadcast
        } else if roles & Role::Client.bit() != 0 {
            Self::RoleClient
        } else {
            Self::RoleControl
        }
    }

    /// The reason that the packet is counted for.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Unlisted => Reason::Unlisted,
            Self::RoleServer
            | Self::RolePeer
            | Self::RoleBroadcast
            | Self::RoleClient
            | Self::RoleControl => Reason::Role,
            Self::Unsolicited => Reason::Unsolicited,
            Self::Origin => Reason::Origin,
            Self::ZeroOrigin => Reason::ZeroOrigin,
            Self::Oversize => Reason::Oversize,
            Self::Late => Reason::Late,
            Self::Length => Reason::Length,
            Self::Version => Reason::Version,
            Self::Mode => Reason::Mode,
        }
    }

    /// The role that would have admitted the packet, where that is what it lacks.
    pub const fn lacks(self) -> Option<Role> {
        match self {
            Self::RoleServer => Some(Role::Server),
            Self::RolePeer => Some(Role::Peer),
            Self::RoleBroadcast => Some(Role::Broadcast),
            Self::RoleClient => Some(Role::Client),
            Self::RoleControl => Some(Role::Control),
            _ => None,
        }
    }
}

/// Refused packets of one server, by [`Cause`]: the value of the `REFUSALS` map, per CPU.
///
/// Host byte order. The field of a cause stands at its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "each field is the count of the cause it is named for"
)]
pub struct Refusals {
    pub unlisted: u64,
    pub role_server: u64,
    pub role_peer: u64,
    pub role_broadcast: u64,
    pub role_client: u64,
    pub role_control: u64,
    pub unsolicited: u64,
    pub origin: u64,
    pub zero_origin: u64,
    pub oversize: u64,
    pub late: u64,
    pub length: u64,
    pub version: u64,
    pub mode: u64,
    pub reserved: [u64; 2],
}

impl Refusals {
    /// Nothing refused.
    pub const NONE: Self = Self {
        unlisted: 0,
        role_server: 0,
        role_peer: 0,
        role_broadcast: 0,
        role_client: 0,
        role_control: 0,
        unsolicited: 0,
        origin: 0,
        zero_origin: 0,
        oversize: 0,
        late: 0,
        length: 0,
        version: 0,
        mode: 0,
        reserved: [0; 2],
    };

    /// How many counters the value has, the reserved ones included.
    pub const SLOTS: usize = 16;

    /// Packets refused for `cause`.
    pub const fn get(&self, cause: Cause) -> u64 {
        match cause {
            Cause::Unlisted => self.unlisted,
            Cause::RoleServer => self.role_server,
            Cause::RolePeer => self.role_peer,
            Cause::RoleBroadcast => self.role_broadcast,
            Cause::RoleClient => self.role_client,
            Cause::RoleControl => self.role_control,
            Cause::Unsolicited => self.unsolicited,
            Cause::Origin => self.origin,
            Cause::ZeroOrigin => self.zero_origin,
            Cause::Oversize => self.oversize,
            Cause::Late => self.late,
            Cause::Length => self.length,
            Cause::Version => self.version,
            Cause::Mode => self.mode,
        }
    }

    /// The count of `cause`.
    pub const fn get_mut(&mut self, cause: Cause) -> &mut u64 {
        match cause {
            Cause::Unlisted => &mut self.unlisted,
            Cause::RoleServer => &mut self.role_server,
            Cause::RolePeer => &mut self.role_peer,
            Cause::RoleBroadcast => &mut self.role_broadcast,
            Cause::RoleClient => &mut self.role_client,
            Cause::RoleControl => &mut self.role_control,
            Cause::Unsolicited => &mut self.unsolicited,
            Cause::Origin => &mut self.origin,
            Cause::ZeroOrigin => &mut self.zero_origin,
            Cause::Oversize => &mut self.oversize,
            Cause::Late => &mut self.late,
            Cause::Length => &mut self.length,
            Cause::Version => &mut self.version,
            Cause::Mode => &mut self.mode,
        }
    }

    /// Adds what another CPU counted.
    pub fn add(&mut self, other: &Self) {
        for cause in Cause::ALL {
            let count = self.get_mut(cause);
            *count = count.wrapping_add(other.get(cause));
        }
    }
}

/// Whether a grant makes its address a server, whose refusals are counted.
#[inline(always)]
pub const fn is_server(grant: &Grant) -> bool {
    grant.roles & (Role::Server.bit() | Role::Peer.bit()) != 0
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: repr(C), made of integers alone, without padding, valid for every bit pattern.
    unsafe impl aya::Pod for super::Refusals {}
}

const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Refusals>() == 8 * Refusals::SLOTS);
    assert!(offset_of!(Refusals, unlisted) == 8 * Cause::Unlisted as usize);
    assert!(offset_of!(Refusals, role_control) == 8 * Cause::RoleControl as usize);
    assert!(offset_of!(Refusals, unsolicited) == 8 * Cause::Unsolicited as usize);
    assert!(offset_of!(Refusals, mode) == 8 * Cause::Mode as usize);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_a_counter_of_its_own_at_its_number() {
        for (number, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, number);
            let mut refusals = Refusals::default();
            *refusals.get_mut(cause) = 7;
            for other in Cause::ALL {
                let expected = if other == cause { 7 } else { 0 };
                assert_eq!(refusals.get(other), expected, "{other:?}");
            }
            refusals.add(&refusals.clone());
            assert_eq!(refusals.get(cause), 14);
        }
    }

    #[test]
    fn a_cause_is_that_of_its_reason_and_of_the_role_it_lacks() {
        for cause in Cause::ALL {
            let roles = cause.lacks().map_or(0, Role::bit);
            assert_eq!(Cause::of(cause.reason(), roles), Some(cause));
        }
        for reason in Reason::ALL.iter().filter(|reason| reason.admits()) {
            assert_eq!(Cause::of(*reason, 0), None, "{reason}");
        }
        let symmetric = Role::Peer.bit() | Role::Client.bit();
        assert_eq!(Cause::of(Reason::Role, symmetric), Some(Cause::RolePeer));
    }
}
