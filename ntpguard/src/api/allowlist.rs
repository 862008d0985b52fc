//! The answers to `ntpguard allowlist`.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr, SocketAddrV6},
};

use ipnet::IpNet;
use ntpguard_common::{maps::tables::Origin, wire::ntp};
use serde::{Deserialize, Serialize};

use super::status::SCHEMA;
use crate::{
    allowlist::{claim::Claim, projection::Projection},
    clock::BootSeconds,
    scope::{self, Interfaces, Scoped},
    sources::Problem,
};

/// The answer to `ntpguard allowlist list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// [`SCHEMA`].
    pub schema: u32,
    /// A row for each prefix and role.
    pub rows: Vec<ListRow>,
}

/// One prefix in one role, with all who vouch for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRow {
    /// Which addresses.
    pub prefix: Scoped<IpNet>,
    /// Whether the interface of a link-local address is not there, so that nothing is granted yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits_for_interface: bool,
    /// The port that a server is asked at; absent where it is 123.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `server`, `peer`, `broadcast`, `client`, `control`, or `none` for a denial.
    pub role: String,
    /// Whether a server's replies may be longer than the requests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub long_replies: bool,
    /// Who vouches for it.
    pub origins: Vec<String>,
    /// The names that led to it.
    pub names: Vec<String>,
    /// Where configuration files say so, as `file:line`.
    pub places: Vec<String>,
    /// Seconds until the role ends; absent where it does not.
    pub ends_in: Option<u32>,
    /// What somebody wanted to remember.
    pub comments: Vec<String>,
}

impl Listing {
    /// Gathers claims into rows: one for each prefix, port and role, in the order of addresses.
    pub fn of(claims: &[Claim], interfaces: &Interfaces, now: BootSeconds) -> Self {
        let mut gathered: BTreeMap<(Scoped<IpNet>, u16, &str), Vec<&Claim>> = BTreeMap::new();
        for claim in claims {
            let mut prefix = claim.addresses();
            prefix.scope = prefix.scope.map(|scope| interfaces.named(&scope));
            gathered
                .entry((prefix, claim.port, claim.role_name()))
                .or_default()
                .push(claim);
        }
        let rows = gathered.into_iter().map(|((prefix, port, role), claims)| {
            let ends = claims
                .iter()
                .map(|claim| claim.ends)
                .collect::<Option<Vec<_>>>();
            ListRow {
                waits_for_interface: waits(&prefix, interfaces),
                prefix,
                port: (port != ntp::PORT).then_some(port),
                role: role.to_owned(),
                long_replies: claims.iter().any(|claim| claim.long_replies),
                origins: distinct(Origin::ALL.iter().filter_map(|origin| {
                    let vouches = claims.iter().any(|claim| claim.origin == *origin);
                    vouches.then(|| origin.name().to_owned())
                })),
                names: distinct(claims.iter().filter_map(|claim| claim.name.clone())),
                places: distinct(claims.iter().filter_map(|claim| {
                    let place = claim.place.as_ref()?;
                    Some(format!("{}:{}", place.file.display(), place.line))
                })),
                ends_in: ends
                    .and_then(|ends| ends.into_iter().max())
                    .map(|end| end.since(now)),
                comments: distinct(claims.iter().filter_map(|claim| claim.comment.clone())),
            }
        });
        Self {
            schema: SCHEMA,
            rows: rows.collect(),
        }
    }
}

/// Whether an address is meant on an interface that is not there.
pub fn waits<T>(host: &Scoped<T>, interfaces: &Interfaces) -> bool {
    let scope = host.scope.as_ref();
    scope.is_some_and(|scope| !interfaces.has(scope))
}

fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// The answer to `ntpguard allowlist add` and `remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Which addresses.
    pub prefix: Scoped<IpNet>,
    /// The roles that were given or taken.
    pub roles: Vec<String>,
    /// Whether that changed the list.
    pub changed: bool,
    /// Whether the kernel's tables follow; they do not while nothing is loaded.
    pub in_kernel: bool,
}

/// What something is granted to; in JSON a prefix, or an address and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Granted {
    /// Addresses, whichever their role is.
    Prefix(Scoped<IpNet>),
    /// A server that is asked at another port than 123.
    Server(SocketAddr),
}

impl Granted {
    /// All that `projection` has.
    pub fn all_of(projection: &Projection, interfaces: &Interfaces) -> BTreeSet<Self> {
        let addresses = projection.addresses.keys();
        let addresses = addresses.map(|key| of_key(*key, interfaces).into());
        let prefixes = projection.prefixes.keys().copied().map(Scoped::from);
        let servers = projection.endpoints.keys();
        addresses
            .chain(prefixes)
            .map(Self::Prefix)
            .chain(servers.map(|server| Self::Server(of_server(*server))))
            .collect()
    }
}

/// The host of a key in the kernel's tables.
fn of_key(key: IpAddr, interfaces: &Interfaces) -> Scoped<IpAddr> {
    match scope::of_key(key) {
        Some((address, index)) => Scoped {
            address: address.into(),
            scope: Some(interfaces.scope(index)),
        },
        None => key.into(),
    }
}

/// The same of a server at another port, with the index of its interface.
fn of_server(key: SocketAddr) -> SocketAddr {
    match scope::of_key(key.ip()) {
        Some((address, index)) => SocketAddrV6::new(address, key.port(), 0, index).into(),
        None => key,
    }
}

/// The answer to `ntpguard allowlist update`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updated {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What is granted now and was not before.
    pub added: Vec<Granted>,
    /// What was granted before and still is.
    pub kept: Vec<Granted>,
    /// What was granted before and is no more.
    pub removed: Vec<Granted>,
    /// Names that could not be resolved, with the reason; their addresses are kept.
    pub failed: BTreeMap<String, String>,
    /// What is wrong with the configuration files.
    pub problems: Vec<Problem>,
    /// Whether the kernel's tables follow; they do not while nothing is loaded.
    pub in_kernel: bool,
}

#[cfg(test)]
mod tests {
    use ntpguard_common::maps::tables::{Grant, Role};

    use super::*;

    #[test]
    fn all_who_vouch_for_an_address_stand_in_one_row() {
        let claim = |origin, ends: Option<u32>, name: Option<&str>| Claim {
            role: Some(Role::Server),
            name: name.map(str::to_owned),
            ends: ends.map(BootSeconds),
            ..Claim::new("192.0.2.1/32".parse().unwrap(), origin)
        };
        let claims = [
            claim(Origin::Manual, Some(50), None),
            claim(Origin::Dns, Some(70), Some("a.example")),
            claim(Origin::Dns, Some(60), Some("a.example")),
        ];
        let listing = Listing::of(&claims, &Interfaces::default(), BootSeconds(10));
        assert_eq!(listing.rows.len(), 1);
        let row = &listing.rows[0];
        assert_eq!(row.origins, ["dns", "manual"]);
        assert_eq!(row.names, ["a.example"]);
        assert_eq!(row.ends_in, Some(60));
        let forever = [claims[0].clone(), claim(Origin::Config, None, None)];
        assert_eq!(
            Listing::of(&forever, &Interfaces::default(), BootSeconds(10)).rows[0].ends_in,
            None
        );
    }

    #[test]
    fn a_grant_waits_for_its_interface_and_is_one_by_whatever_name_that_goes() {
        let mut interfaces = Interfaces::default();
        interfaces.add(2, "eth0");
        let on = |host: &str| Claim {
            role: Some(Role::Server),
            ..Claim::of_host(&host.parse().unwrap(), Origin::Manual)
        };
        let claims = ["fe80::1", "fe80::1%2", "fe80::1%eth0", "fe80::1%eth7"].map(on);
        let rows = Listing::of(&claims, &interfaces, BootSeconds(10)).rows;
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.prefix.to_string(), row.waits_for_interface))
            .collect();
        let expected = [
            ("fe80::1/128", false),
            ("fe80::1%eth0/128", false),
            ("fe80::1%eth7/128", true),
        ];
        assert_eq!(rows, expected.map(|(host, waits)| (host.to_owned(), waits)));
    }

    #[test]
    fn what_is_granted_on_an_interface_is_shown_by_its_name() {
        let mut interfaces = Interfaces::default();
        interfaces.add(2, "eth0");
        let mut projection = Projection::default();
        for key in ["fe80:0:0:2::1", "fe80:0:0:7::1", "fe80::1"] {
            let grant = Grant::default();
            projection.addresses.insert(key.parse().unwrap(), grant);
            let server = SocketAddr::new(key.parse().unwrap(), 1123);
            projection.endpoints.insert(server, grant);
        }
        let granted = Granted::all_of(&projection, &interfaces);
        let json = serde_json::to_value(&granted).unwrap();
        let expected = serde_json::json!([
            "fe80::1/128",
            "fe80::1%7/128",
            "fe80::1%eth0/128",
            "[fe80::1]:1123",
            "[fe80::1%2]:1123",
            "[fe80::1%7]:1123"
        ]);
        assert_eq!(json, expected);
        let read: BTreeSet<Granted> = serde_json::from_value(json).unwrap();
        assert_eq!(read, granted);
    }

    #[test]
    fn what_is_granted_reads_as_prefixes_and_servers_with_their_port() {
        let mut projection = Projection::default();
        let grant = Grant::default();
        let (prefix, server) = ("198.51.100.0/24", "[2001:db8::1]:1123");
        projection.prefixes.insert(prefix.parse().unwrap(), grant);
        projection
            .addresses
            .insert("192.0.2.1".parse().unwrap(), grant);
        projection.endpoints.insert(server.parse().unwrap(), grant);
        let granted = Granted::all_of(&projection, &Interfaces::default());
        let json = serde_json::to_value(&granted).unwrap();
        assert_eq!(json, serde_json::json!(["192.0.2.1/32", prefix, server]));
        let read: BTreeSet<Granted> = serde_json::from_value(json).unwrap();
        assert_eq!(read, granted);
    }
}
