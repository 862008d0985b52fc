//! One reason why an address or prefix may be something to this host.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use ntpguard_common::{
    maps::tables::{Origin, Role},
    wire::ntp,
};

use crate::{
    clock::BootSeconds,
    resolve::Held,
    scope::{Scope, Scoped},
    sources::{Place, Speaker},
};

/// What one origin says of one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which addresses; a single one has all its bits in the prefix. Host bits are zero.
    pub prefix: IpNet,
    /// The interface that a link-local address is meant on; every one where there is none.
    pub scope: Option<Scope>,
    /// What they may be; `None` denies what a wider prefix grants.
    pub role: Option<Role>,
    /// The port that a server is asked at.
    pub port: u16,
    /// Whether a server's replies may be longer than the requests.
    pub long_replies: bool,
    /// Who says so.
    pub origin: Origin,
    /// Whose word it is, which decides what it may grant.
    pub speaker: Speaker,
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
    /// What `origin` says of a prefix, which is a denial until a role is given. By hand it is root's
    /// word, by a daemon the daemon's; else it counts least until its speaker is given.
    pub fn new(prefix: IpNet, origin: Origin) -> Self {
        Self {
            prefix: prefix.trunc(),
            scope: None,
            role: None,
            port: ntp::PORT,
            long_replies: false,
            origin,
            speaker: match origin {
                Origin::Manual => Speaker::Root,
                Origin::Daemon | Origin::Learned => Speaker::Daemon,
                _ => Speaker::least(),
            },
            name: None,
            place: None,
            ends: None,
            comment: None,
        }
    }

    /// What is said of an address that DNS gave for `name`.
    pub(super) fn resolved(name: &str, address: IpAddr, held: &Held) -> Self {
        let origin = if held.is_saved() {
            Origin::Saved
        } else {
            Origin::Dns
        };
        Self {
            name: Some(name.to_owned()),
            ..Self::new(address.into(), origin)
        }
    }

    /// What `origin` says of a host.
    pub fn of_host(host: &Scoped<IpAddr>, origin: Origin) -> Self {
        Self {
            scope: host.scope.clone(),
            ..Self::new(host.address.into(), origin)
        }
    }

    /// Which addresses, and on which interface.
    pub fn addresses(&self) -> Scoped<IpNet> {
        Scoped {
            address: self.prefix,
            scope: self.scope.clone(),
        }
    }

    /// The same, said at `place`.
    pub(super) fn at(self, place: &Place) -> Self {
        Self {
            place: Some(place.clone()),
            ..self
        }
    }

    /// The same as the word of `speaker`.
    pub(super) fn said_by(self, speaker: Speaker) -> Self {
        Self { speaker, ..self }
    }

    /// The same of a server that is asked at `port`.
    pub(super) fn on(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Where the server is asked that it is about.
    pub(super) fn server(&self) -> SocketAddr {
        SocketAddr::new(self.prefix.addr(), self.port)
    }

    /// The same for each role; none of them is no claim.
    pub(super) fn for_roles(self, roles: &[Role]) -> impl Iterator<Item = Self> {
        roles.iter().map(move |role| Self {
            role: Some(*role),
            ..self.clone()
        })
    }

    /// Who vouches for it, and where, for people.
    pub(super) fn voucher(&self) -> String {
        let place = self
            .place
            .as_ref()
            .map(|place| format!("{}:{}", place.file.display(), place.line));
        let details: Vec<String> = self.name.clone().into_iter().chain(place).collect();
        if details.is_empty() {
            return self.origin.name().to_owned();
        }
        format!("{} ({})", self.origin.name(), details.join(", "))
    }

    /// The role's name, [`DENIED`] for a denial.
    pub fn role_name(&self) -> &'static str {
        self.role.map_or(DENIED, Role::name)
    }
}

/// What is written instead of a role to deny every one.
pub const DENIED: &str = "none";

/// A word that is neither a role nor [`DENIED`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown role {0:?}: expected server, peer, broadcast, client, control or none")]
pub struct UnknownRole(String);

/// Reads a role's name; [`DENIED`] is `None`.
pub fn parse_role(word: &str) -> Result<Option<Role>, UnknownRole> {
    if word == DENIED {
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
