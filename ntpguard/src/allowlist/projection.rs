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
    maps::tables::{DENY, DENY_ALWAYS, Grant, LONG_REPLIES, Origin, Role},
    wire::ntp,
};

use super::{
    claim::{Claim, is_address},
    room::{Precedence, Room, Wanted},
};
use crate::{
    clock::BootSeconds,
    scope::{self, Interfaces},
};

/// The grants as the kernel sees them: the contents of the `ALLOW_*` maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Single addresses: `ALLOW_V4` and `ALLOW_V6`.
    pub addresses: BTreeMap<IpAddr, Grant>,
    /// Prefixes shorter than an address, host bits zero: `ALLOW_NET_V4` and `ALLOW_NET_V6`.
    pub prefixes: BTreeMap<IpNet, Grant>,
    /// Servers that are asked at another port than 123, with that port.
    pub endpoints: BTreeMap<SocketAddr, Grant>,
}

/// What the kernel's tables would hold for `claims` to be true at `now` if they had room for everything.
pub fn project<'a>(
    claims: impl IntoIterator<Item = &'a Claim>,
    interfaces: &Interfaces,
    now: BootSeconds,
) -> Projection {
    wanted(claims, interfaces, now).within(Room::ENDLESS).0
}

/// What the kernel's tables must hold for `claims` to be true at `now`, as far as there is room.
///
/// The roles of a prefix are those that any claim gives it. A denial stops what wider prefixes
/// give; one made by hand also stops every other claim on that very prefix. Nested prefixes carry
/// the roles of what covers them, because the kernel finds the longest match alone. What a server
/// at another port than 123 is granted stands by itself.
///
/// What a link-local address is granted on one interface stands under its
/// [key](ntpguard_common::wire::link_local) there, with all that it is granted everywhere, because the kernel takes
/// the first of both that it finds. Of an interface that is not there nothing stands.
pub fn wanted<'a>(
    claims: impl IntoIterator<Item = &'a Claim>,
    interfaces: &Interfaces,
    now: BootSeconds,
) -> Wanted {
    let mut merged: BTreeMap<IpNet, Merged> = BTreeMap::new();
    let mut endpoints: BTreeMap<SocketAddr, Merged> = BTreeMap::new();
    for claim in claims {
        // A learned server's replies are admitted by the requests that it was learned from.
        let is_grant = claim.origin != Origin::Learned;
        if !is_grant || claim.ends.is_some_and(|ends| ends <= now) {
            continue;
        }
        let has_custom_port = claim.port != ntp::PORT;
        for prefix in keys(claim, interfaces) {
            // A peer sends from the port that it is asked at to our port 123, too.
            if !has_custom_port || claim.role == Some(Role::Peer) {
                merged.entry(prefix).or_default().add(claim);
            }
            if has_custom_port {
                let server = SocketAddr::new(prefix.addr(), claim.port);
                endpoints.entry(server).or_default().add(claim);
            }
        }
    }
    spread(&mut merged, &mut endpoints);
    // Who is cut off by hand is so at every port, and whose replies may be long, too.
    for (server, at_port) in &mut endpoints {
        let at_all = merged.get(&IpNet::from(server.ip()));
        let at_all = at_all.or_else(|| merged.get(&everywhere(server.ip())?.into()));
        at_port.denied_by_hand = at_all.is_some_and(|merged| merged.denied_by_hand);
        at_port.grant.roles |= at_all.map_or(0, |merged| merged.grant.roles & LONG_REPLIES);
    }
    let endpoints = endpoints.into_iter();
    let mut wanted = Wanted {
        endpoints: endpoints
            .map(|(server, merged)| (server, (merged.precedence, merged.grant())))
            .collect(),
        ..Wanted::default()
    };
    // The prefixes that cover the one at hand, widest first: in a map's order a prefix comes
    // after all that cover it.
    let mut covering: Vec<(IpNet, Grant)> = Vec::new();
    for (prefix, merged) in merged {
        let precedence = merged.precedence;
        let own = merged.grant();
        if is_address(&prefix) {
            wanted.addresses.insert(prefix.addr(), (precedence, own));
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
        wanted.prefixes.insert(prefix, (precedence, grant));
    }
    wanted
}

/// Where the kernel is to find what a claim is about.
fn keys(claim: &Claim, interfaces: &Interfaces) -> Vec<IpNet> {
    match (&claim.scope, claim.prefix.addr()) {
        (Some(scope), IpAddr::V6(address)) if is_address(&claim.prefix) => {
            let indices = interfaces.of_link(scope).into_iter();
            let keys = indices.map(|index| scope::key(address, index));
            keys.map(|key| IpNet::from(IpAddr::from(key))).collect()
        }
        _ => vec![claim.prefix],
    }
}

/// The address that is meant by a key, on every interface; `None` for what is no key.
fn everywhere(key: IpAddr) -> Option<IpAddr> {
    scope::of_key(key).map(|(address, _)| address.into())
}

/// Adds to what is granted on one interface what is granted on every one.
fn spread(merged: &mut BTreeMap<IpNet, Merged>, endpoints: &mut BTreeMap<SocketAddr, Merged>) {
    let keys: Vec<(IpAddr, IpAddr)> = merged
        .keys()
        .map(IpNet::addr)
        .chain(endpoints.keys().map(SocketAddr::ip))
        .filter_map(|key| Some((key, everywhere(key)?)))
        .collect();
    for (key, address) in keys {
        if let Some(at_all) = merged.get(&address.into()).cloned()
            && let Some(here) = merged.get_mut(&key.into())
        {
            here.include(&at_all);
        }
        let ports = SocketAddr::new(address, 0)..=SocketAddr::new(address, u16::MAX);
        let at_ports: Vec<_> = endpoints
            .range(ports)
            .map(|(server, at_all)| (server.port(), at_all.clone()))
            .collect();
        for (port, at_all) in at_ports {
            let here = endpoints.entry(SocketAddr::new(key, port)).or_default();
            here.include(&at_all);
        }
    }
}

/// The claims on one prefix, added up.
#[derive(Clone, Default)]
struct Merged {
    grant: Grant,
    denied_by_hand: bool,
    denied_by: u32,
    /// That of the claim which comes first.
    precedence: Precedence,
}

impl Merged {
    fn add(&mut self, claim: &Claim) {
        self.precedence = self.precedence.min(Precedence::of(claim));
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

    /// Adds other claims.
    fn include(&mut self, other: &Self) {
        for role in Role::ALL {
            if other.grant.roles & role.bit() != 0 {
                give(&mut self.grant, role, other.grant.expires.get(role));
            }
        }
        self.grant.roles |= other.grant.roles & LONG_REPLIES;
        self.grant.origins |= other.grant.origins;
        self.denied_by |= other.denied_by;
        self.denied_by_hand |= other.denied_by_hand;
        self.precedence = self.precedence.min(other.precedence);
    }

    fn grant(self) -> Grant {
        if self.denied_by_hand {
            let origins = Origin::Manual.bit();
            return Grant {
                roles: DENY | DENY_ALWAYS,
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
