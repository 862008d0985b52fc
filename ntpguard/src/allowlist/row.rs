//! The rows of the state file.

use std::path::PathBuf;

use ipnet::IpNet;
use ntpguard_common::{
    maps::tables::{Origin, Role},
    wire::ntp,
};
use serde::{Deserialize, Serialize};

use super::claims::readings::Sourced;
use crate::{
    allowlist::{authority::Spoken, claim::Claim},
    clock::BootSeconds,
    scope::{Scope, Scoped},
    sources::{Family, Host, Place, Speaker, Want},
};

/// One claim, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Which addresses.
    pub prefix: IpNet,
    /// The interface that a link-local address is meant on, by its name: its index changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// A role's name, or `none`.
    #[serde(with = "role_name")]
    pub role: Option<Role>,
    /// An origin's name.
    #[serde(with = "origin_name")]
    pub origin: Origin,
    /// Whose word it is. A row without counts least: what was written down grants no more than who
    /// said it could.
    #[serde(default = "Speaker::least")]
    pub speaker: Speaker,
    /// The name that led to the address, and which of its addresses count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which of the name's addresses count.
    #[serde(default, skip_serializing_if = "is_any")]
    pub family: Family,
    /// The port that a server is asked at.
    #[serde(default = "ntp_port", skip_serializing_if = "is_ntp_port")]
    pub port: u16,
    /// Whether a server's replies may be longer than the requests; by hand alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub long_replies: bool,
    /// The source that led to it, as `--source` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The configuration file that says so, the source itself or one that it includes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The line of that file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub line: u32,
    /// Seconds left when the file was written, where there is an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u32>,
    /// What somebody wanted to remember.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Row {
    /// Writes down a claim that no source made.
    pub(super) fn of(claim: &Claim, now: BootSeconds) -> Self {
        Self {
            prefix: claim.prefix,
            scope: claim.scope.clone(),
            role: claim.role,
            origin: claim.origin,
            speaker: claim.speaker,
            name: claim.name.clone(),
            family: Family::Any,
            port: claim.port,
            long_replies: claim.long_replies,
            source: None,
            file: claim.place.as_ref().map(|place| place.file.to_path_buf()),
            line: claim.place.as_ref().map_or(0, |place| place.line),
            left: claim.ends.map(|ends| ends.since(now)),
            comment: claim.comment.clone(),
        }
    }

    /// Writes down a claim of a source.
    pub(super) fn of_source(sourced: &Sourced<'_>, now: BootSeconds) -> Self {
        Self {
            source: Some(sourced.id.to_owned()),
            family: sourced.family,
            left: sourced.held.map(|held| held.grace_left(now)),
            ..Self::of(&sourced.claim, now)
        }
    }

    /// Whether it is about a learned server: no source led to it.
    pub(super) fn is_learned(&self) -> bool {
        matches!(self.origin, Origin::Learned | Origin::Saved)
            && self.name.is_none()
            && self.source.is_none()
    }

    /// The claim that it tells. A name's addresses have a grace, but their claims have no end.
    pub(super) fn claim(&self, now: BootSeconds) -> Claim {
        let ends = self
            .left
            .filter(|_| self.origin == Origin::Manual || self.is_learned())
            .map(|left| now.plus(left));
        Claim {
            scope: self.scope.clone(),
            role: self.role,
            port: self.port,
            long_replies: self.long_replies && self.origin == Origin::Manual,
            name: self.name.clone(),
            place: self.place(),
            ends,
            comment: self.comment.clone(),
            speaker: match self.origin {
                Origin::Manual => Speaker::Root,
                _ => self.speaker,
            },
            ..Claim::new(self.prefix, self.origin)
        }
    }

    /// The source that led to it, and what that asked for, as far as the row tells.
    pub(super) fn want(&self) -> Option<(String, Spoken)> {
        let source = self.source.clone()?;
        let place = self.place()?;
        let roles: Vec<Role> = self.role.into_iter().collect();
        let is_source = roles
            .iter()
            .any(|role| matches!(role, Role::Server | Role::Peer | Role::Broadcast));
        let host = match &self.name {
            Some(name) => Some(Host::Name(name.clone())),
            None => is_source.then(|| {
                Host::Address(Scoped {
                    address: self.prefix.addr(),
                    scope: self.scope.clone(),
                })
            }),
        };
        let want = match host {
            Some(host) => Want::Source {
                host,
                family: self.family,
                port: self.port,
                roles,
                place,
            },
            None => Want::Prefix {
                prefix: self.prefix,
                roles,
                place,
            },
        };
        let speaker = self.speaker;
        Some((source, Spoken { want, speaker }))
    }

    fn place(&self) -> Option<Place> {
        self.file.as_deref().map(|file| Place {
            file: file.into(),
            line: self.line,
            column: 0,
        })
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn is_any(family: &Family) -> bool {
    *family == Family::Any
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
const fn is_zero(line: &u32) -> bool {
    *line == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
const fn is_ntp_port(port: &u16) -> bool {
    *port == ntp::PORT
}

const fn ntp_port() -> u16 {
    ntp::PORT
}

mod role_name {
    use ntpguard_common::maps::tables::Role;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use crate::allowlist::claim::{DENIED, parse_role};

    #[expect(
        clippy::ref_option,
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes fields by reference"
    )]
    pub(super) fn serialize<S: Serializer>(role: &Option<Role>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(role.map_or(DENIED, Role::name))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Role>, D::Error> {
        parse_role(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

mod origin_name {
    use ntpguard_common::maps::tables::Origin;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes fields by reference"
    )]
    pub(super) fn serialize<S: Serializer>(origin: &Origin, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(origin.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Origin, D::Error> {
        let name = String::deserialize(from)?;
        Origin::ALL
            .into_iter()
            .find(|origin| origin.name() == name)
            .ok_or_else(|| D::Error::custom(format!("unknown origin {name:?}")))
    }
}
