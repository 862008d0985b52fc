//! The projection: what all claims together grant at a moment, as the kernel's tables hold it. No I/O, no
//! clock of its own.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use ntpguard_common::{
    maps::tables::{BAN, DENY, Grant, LONG_REPLIES, Origin, Role},
    wire::ntp,
};

use super::claim::{Claim, is_address};
use crate::clock::BootSeconds;

/// The grants as the kernel sees them: the contents of the `ALLOW_*` maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Single addresses: `ALLOW_V4` and `ALLOW_V6`.
    pub addresses: BTreeMap<IpAddr, Grant>,
    /// Prefixes shorter than an address, host bits zero: `ALLOW_NET_V4` and `ALLOW_NET_V6`.
    pub prefixes: BTreeMap<IpNet, Grant>,
    /// Servers that are asked at another port than 123, with that port.
    pub elsewhere: BTreeMap<SocketAddr, Grant>,
}

/// What the kernel's tables must hold for `claims` to be true at `now`.
///
/// The roles of a prefix are those that any claim gives it. A denial stops what wider prefixes
/// give; one made by hand also stops every other claim on that very prefix. Nested prefixes carry
/// the roles of what covers them, because the kernel finds the longest match alone. What a server
/// at another port than 123 is granted stands by itself.
pub fn project<'a>(claims: impl IntoIterator<Item = &'a Claim>, now: BootSeconds) -> Projection {
    let mut merged: BTreeMap<IpNet, Merged> = BTreeMap::new();
    let mut elsewhere: BTreeMap<SocketAddr, Merged> = BTreeMap::new();
    for claim in claims {
        // A learned server's replies are admitted by the requests that it was learned from.
        let is_grant = claim.origin != Origin::Learned;
        if !is_grant || claim.ends.is_some_and(|ends| ends <= now) {
            continue;
        }
        let is_elsewhere = claim.port != ntp::PORT;
        // A peer sends from the port that it is asked at to our port 123, too.
        if !is_elsewhere || claim.role == Some(Role::Peer) {
            merged.entry(claim.prefix).or_default().add(claim);
        }
        if is_elsewhere {
            elsewhere.entry(claim.server()).or_default().add(claim);
        }
    }
    // Who is cut off by hand is so at every port, and whose replies may be long, too.
    for (server, at_port) in &mut elsewhere {
        let at_all = merged.get(&IpNet::from(server.ip()));
        at_port.denied_by_hand = at_all.is_some_and(|merged| merged.denied_by_hand);
        at_port.grant.roles |= at_all.map_or(0, |merged| merged.grant.roles & LONG_REPLIES);
    }
    let elsewhere = elsewhere.into_iter();
    let mut projection = Projection {
        elsewhere: elsewhere
            .map(|(server, merged)| (server, merged.grant()))
            .collect(),
        ..Projection::default()
    };
    // The prefixes that cover the one at hand, widest first: in a map's order a prefix comes
    // after all that cover it.
    let mut covering: Vec<(IpNet, Grant)> = Vec::new();
    for (prefix, merged) in merged {
        let own = merged.grant();
        if is_address(&prefix) {
            projection.addresses.insert(prefix.addr(), own);
            continue;
        }
        while covering
            .last()
            .is_some_and(|(wider, _)| !wider.contains(&prefix))
        {
            covering.pop();
        }
        let grant = match covering.last() {
            Some((_, wider)) if own.roles & DENY == 0 => join(own, *wider),
            _ => own,
        };
        covering.push((prefix, grant));
        projection.prefixes.insert(prefix, grant);
    }
    projection
}

/// The claims on one prefix, added up.
#[derive(Default)]
struct Merged {
    grant: Grant,
    denied_by_hand: bool,
    denied_by: u32,
}

impl Merged {
    fn add(&mut self, claim: &Claim) {
        if let Some(role) = claim.role {
            let ends = claim.ends.map_or(0, |ends| ends.0.max(1));
            give(&mut self.grant, role, ends);
            self.grant.origins |= claim.origin.bit();
            if claim.long_replies && role == Role::Server {
                self.grant.roles |= LONG_REPLIES;
            }
        } else {
            self.denied_by |= claim.origin.bit();
            self.denied_by_hand |= claim.origin == Origin::Manual;
        }
    }

    fn grant(self) -> Grant {
        if self.denied_by_hand {
            let origins = Origin::Manual.bit();
            return Grant {
                roles: DENY | BAN,
                origins,
                ..Grant::default()
            };
        }
        let mut grant = self.grant;
        if self.denied_by != 0 {
            grant.roles |= DENY;
            grant.origins |= self.denied_by;
        }
        grant
    }
}

/// Adds to a grant what a wider one gives.
fn join(mut own: Grant, wider: Grant) -> Grant {
    for role in Role::ALL {
        if wider.roles & role.bit() != 0 {
            give(&mut own, role, wider.expires.get(role));
        }
    }
    own.roles |= wider.roles & LONG_REPLIES;
    own.origins |= wider.origins;
    own
}

/// Gives a role until `ends`, 0 for ever; a later end wins over an earlier one.
fn give(grant: &mut Grant, role: Role, ends: u32) {
    let held = grant.roles & role.bit() != 0;
    let until = match (held, grant.expires.get(role)) {
        (false, _) => ends,
        (true, 0) => 0,
        (true, _) if ends == 0 => 0,
        (true, before) => before.max(ends),
    };
    grant.roles |= role.bit();
    grant.expires.set(role, until);
}
