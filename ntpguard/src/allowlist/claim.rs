//! One reason why an address or prefix may be something to this host.

use ipnet::IpNet;
use ntpguard_common::tables::{Origin, Role};

use crate::{clock::BootSeconds, sources::Place};

/// What one origin says of one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which addresses; a single one has all its bits in the prefix. Host bits are zero.
    pub prefix: IpNet,
    /// What they may be; `None` denies what a wider prefix grants.
    pub role: Option<Role>,
    /// Who says so.
    pub origin: Origin,
    /// The name that led to the address.
    pub name: Option<String>,
    /// Where a configuration file says so.
    pub place: Option<Place>,
    /// When the role ends, for claims with a time to live.
    pub ends: Option<BootSeconds>,
    /// What somebody wanted to remember of it.
    pub comment: Option<String>,
}

impl Claim {
    /// The role's name, `none` for a denial.
    pub fn role_name(&self) -> &'static str {
        self.role.map_or("none", Role::name)
    }
}

/// A word that is neither a role nor `none`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown role {0:?}: it is one of server, peer, broadcast, client, control, none")]
pub struct UnknownRole(String);

/// Reads a role's name; `none`, a denial, is `None`.
pub fn parse_role(word: &str) -> Result<Option<Role>, UnknownRole> {
    if word == "none" {
        return Ok(None);
    }
    Role::ALL
        .into_iter()
        .find(|role| role.name() == word)
        .map(Some)
        .ok_or_else(|| UnknownRole(word.to_owned()))
}

/// Whether `prefix` is a single address.
pub fn is_address(prefix: &IpNet) -> bool {
    prefix.prefix_len() == prefix.max_prefix_len()
}
