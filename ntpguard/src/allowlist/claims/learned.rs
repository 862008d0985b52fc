//! The servers that trusted requests went to, and those that an earlier run knew of.

use std::{collections::BTreeMap, net::IpAddr};

use ntpguard_common::maps::{
    requests,
    tables::{Origin, Role},
};

use crate::{
    allowlist::{claim::Claim, row::Row},
    clock::BootSeconds,
    resolve::GRACE,
    scope::is_link_local,
    sources::Speaker,
};

/// Learned servers. What the kernel tells of them is for display; what an earlier run knew counts
/// as saved, and is granted until a day after the server was last asked.
#[derive(Debug, Default)]
pub struct Learned {
    /// When each server was last asked.
    servers: BTreeMap<IpAddr, BootSeconds>,
    /// When each grant of an earlier run ends.
    saved: BTreeMap<IpAddr, BootSeconds>,
}

impl Learned {
    /// Takes a row of an earlier run.
    pub(in crate::allowlist) fn restore(&mut self, row: &Row, now: BootSeconds) {
        if is_link_local(row.prefix.addr()) {
            return;
        }
        let ends = now.plus(row.left.unwrap_or(GRACE));
        let known = self.saved.entry(row.prefix.addr()).or_insert(ends);
        *known = ends.max(*known);
    }

    /// Takes what the kernel tells.
    pub fn set(&mut self, servers: &BTreeMap<IpAddr, requests::Learned>) {
        self.servers = servers
            .iter()
            .map(|(address, learned)| (*address, BootSeconds::from_monotonic(learned.last)))
            .collect();
    }

    /// A claim for each server.
    pub(in crate::allowlist) fn claims(&self) -> impl Iterator<Item = Claim> {
        let learned = self
            .servers
            .keys()
            .map(|address| claim(*address, Origin::Learned, None));
        let saved = self
            .saved
            .iter()
            .map(|(address, ends)| claim(*address, Origin::Saved, Some(*ends)));
        learned.chain(saved)
    }

    /// The same with an end for all, as the state file has them.
    pub(in crate::allowlist) fn lasting_claims(&self) -> impl Iterator<Item = Claim> {
        // Where a link-local one is the kernel does not tell, and elsewhere it is another host.
        let lasting = self
            .claims()
            .filter(|claim| !is_link_local(claim.prefix.addr()));
        lasting.map(|claim| {
            let asked = self.servers.get(&claim.prefix.addr());
            Claim {
                ends: claim.ends.or_else(|| asked.map(|at| at.plus(GRACE))),
                ..claim
            }
        })
    }

    /// Drops the saved servers that have come to their end.
    pub(in crate::allowlist) fn expire(&mut self, now: BootSeconds) {
        self.saved.retain(|_, ends| *ends > now);
    }

    /// The end of the first saved server to come to it.
    pub(in crate::allowlist) fn next(&self) -> Option<BootSeconds> {
        self.saved.values().min().copied()
    }
}

fn claim(address: IpAddr, origin: Origin, ends: Option<BootSeconds>) -> Claim {
    Claim {
        role: Some(Role::Server),
        speaker: Speaker::Daemon,
        ends,
        ..Claim::new(address.into(), origin)
    }
}
