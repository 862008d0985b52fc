//! What was granted and denied by hand.

use ipnet::IpNet;
use ntpguard_common::maps::tables::Role;
use thiserror::Error;

use crate::{allowlist::claim::Claim, clock::BootSeconds, scope::Scoped};

/// Grants and denials by hand.
#[derive(Clone, Debug, Default)]
pub struct Manual {
    claims: Vec<Claim>,
}

/// A grant by hand that cannot be taken back.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ManualError {
    /// Nothing is known of the prefix.
    #[error("{0} is not in the allowlist")]
    Unknown(Scoped<IpNet>),
    /// The prefix is granted, but by others.
    #[error(
        "{prefix} is granted by {others}, not manually; `ntpguard allowlist add {prefix} --role \
         none` denies it"
    )]
    NotManual {
        /// The prefix.
        prefix: Scoped<IpNet>,
        /// Who vouches for it, and where.
        others: String,
    },
}

impl Manual {
    /// Takes what was written down earlier.
    pub(in crate::allowlist) fn restore(&mut self, claim: Claim) {
        self.claims.push(claim);
    }

    /// Grants or denies; says whether that changes anything.
    pub fn add(&mut self, claim: Claim) -> bool {
        if self.claims.contains(&claim) {
            return false;
        }
        // A denial and a grant of one prefix contradict each other: the last word counts.
        self.claims.retain(|old| {
            old.addresses() != claim.addresses()
                || (old.role != claim.role && old.role.is_some() == claim.role.is_some())
        });
        self.claims.push(claim);
        true
    }

    /// Takes back what was granted to exactly `prefix`: the given roles, or all with none given.
    /// Returns the claims removed.
    pub(in crate::allowlist) fn remove(
        &mut self,
        prefix: &Scoped<IpNet>,
        roles: &[Option<Role>],
    ) -> Vec<Claim> {
        let is_meant = |claim: &mut Claim| {
            claim.addresses() == *prefix && (roles.is_empty() || roles.contains(&claim.role))
        };
        self.claims.extract_if(.., is_meant).collect()
    }

    /// All of them.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Drops those that have come to their end.
    pub(in crate::allowlist) fn expire(&mut self, now: BootSeconds) {
        self.claims
            .retain(|claim| claim.ends.is_none_or(|ends| ends > now));
    }

    /// The end of the first to come to it.
    pub(in crate::allowlist) fn next(&self) -> Option<BootSeconds> {
        self.claims.iter().filter_map(|claim| claim.ends).min()
    }
}
