//! Where servers are asked, as the configurations have it: chronyd does not tell the port, and several
//! daemons do not tell the interface.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use ntpguard_common::{maps::tables::Role, wire::ntp};

use crate::{
    allowlist::claim::Claim,
    query::InUse,
    resolve::Question,
    scope::{Scope, Scoped},
    sources::{Family, Host, Want},
};

/// Where servers are asked, by their names and by their addresses.
#[derive(Debug, Default)]
pub(in crate::allowlist) struct Servers {
    names: BTreeSet<(String, u16)>,
    addresses: BTreeSet<SocketAddr>,
    scopes: BTreeSet<(IpAddr, Scope)>,
}

impl Servers {
    /// Those of what the configurations ask for and, as far as names are resolved, claim.
    pub(in crate::allowlist) fn of<'a>(
        wants: impl Iterator<Item = &'a Want>,
        claims: impl Iterator<Item = Claim>,
    ) -> Self {
        let names = wants.filter_map(|want| match want {
            Want::Source {
                host: Host::Name(name),
                port,
                ..
            } => Some((plain(name), *port)),
            _ => None,
        });
        let mut servers = Self {
            names: names.collect(),
            ..Self::default()
        };
        for claim in claims.filter(|claim| claim.role == Some(Role::Server)) {
            servers.addresses.insert(claim.server());
            let address = claim.prefix.addr();
            servers
                .scopes
                .extend(claim.scope.map(|scope| (address, scope)));
        }
        servers
    }

    /// The hosts that a daemon may mean by a source: on the interface that it says, or else on those that
    /// the configurations have for the address. Without either it may be any.
    pub(in crate::allowlist) fn hosts(&self, source: &InUse) -> Vec<Scoped<IpAddr>> {
        let host = &source.address;
        let of_address = self
            .scopes
            .iter()
            .filter(|(address, _)| *address == host.address && host.scope.is_none());
        let named: Vec<_> = of_address
            .map(|(address, scope)| Scoped {
                address: *address,
                scope: Some(scope.clone()),
            })
            .collect();
        if named.is_empty() {
            vec![host.clone()]
        } else {
            named
        }
    }

    /// At which ports a daemon asks a source: where it says, or else where the configurations have one of
    /// that name, or else of that address; or at NTP's port.
    pub(in crate::allowlist) fn ports(&self, source: &InUse) -> Vec<u16> {
        if let Some(port) = source.port {
            return vec![port];
        }
        let by_name = source.name.as_deref().map(|name| self.of_name(name));
        let by_address = || self.of_address(source);
        match by_name.filter(|ports| !ports.is_empty()) {
            Some(ports) => ports,
            None => Some(by_address())
                .filter(|ports| !ports.is_empty())
                .unwrap_or_else(|| vec![ntp::PORT]),
        }
    }

    fn of_name(&self, name: &str) -> Vec<u16> {
        let name = plain(name);
        let all = (name.clone(), 0)..=(name, u16::MAX);
        self.names.range(all).map(|(_, port)| *port).collect()
    }

    fn of_address(&self, source: &InUse) -> Vec<u16> {
        let at = |port| SocketAddr::new(source.address.address, port);
        let all = self.addresses.range(at(0)..=at(u16::MAX));
        all.map(SocketAddr::port).collect()
    }
}

/// A name as it is compared with others.
fn plain(name: &str) -> String {
    Question::new(name, Family::Any).name
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ntpguard_common::maps::tables::Origin;

    use super::*;
    use crate::sources::Place;

    fn named(name: &str, port: u16) -> Want {
        Want::Source {
            host: Host::Name(name.into()),
            family: Family::Any,
            port,
            roles: vec![Role::Server],
            place: Place {
                file: Path::new("/etc/chrony/chrony.conf").into(),
                line: 1,
                column: 1,
            },
        }
    }

    fn server(address: &str, port: u16) -> Claim {
        Claim {
            role: Some(Role::Server),
            ..Claim::new(address.parse().unwrap(), Origin::Config).on(port)
        }
    }

    fn in_use(address: &str, name: Option<&str>) -> InUse {
        InUse {
            address: address.parse().unwrap(),
            port: None,
            name: name.map(str::to_owned),
            roles: vec![Role::Server],
            selected: false,
        }
    }

    #[test]
    fn a_source_without_a_port_is_where_the_configurations_have_it() {
        let wants = [named("Pool.Example.", 4123)];
        let claims = [
            server("192.0.2.1/32", 1123),
            server("192.0.2.2/32", 1123),
            server("192.0.2.2/32", 123),
        ];
        let servers = Servers::of(wants.iter(), claims.into_iter());
        let at = |address, name| servers.ports(&in_use(address, name));
        assert_eq!(at("192.0.2.1", None), [1123]);
        assert_eq!(at("192.0.2.1", Some("other.example")), [1123]);
        assert_eq!(at("192.0.2.2", None), [123, 1123]);
        assert_eq!(at("192.0.2.3", None), [123]);
        assert_eq!(at("192.0.2.3", Some("pool.example")), [4123]);
    }

    #[test]
    fn a_daemon_knows_best() {
        let claims = [server("192.0.2.1/32", 1123)];
        let servers = Servers::of([].iter(), claims.into_iter());
        let source = InUse {
            port: Some(123),
            ..in_use("192.0.2.1", None)
        };
        assert_eq!(servers.ports(&source), [123]);
    }

    #[test]
    fn a_source_without_an_interface_is_on_those_that_the_configurations_have() {
        let on = |host: &str| Claim {
            role: Some(Role::Server),
            ..Claim::of_host(&host.parse().unwrap(), Origin::Config)
        };
        let claims = [on("fe80::1%eth0"), on("fe80::1%eth1"), on("fe80::2")];
        let servers = Servers::of([].iter(), claims.into_iter());
        let hosts = |address| {
            let hosts = servers.hosts(&in_use(address, None)).into_iter();
            hosts.map(|host| host.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(hosts("fe80::1"), ["fe80::1%eth0", "fe80::1%eth1"]);
        assert_eq!(hosts("fe80::1%eth2"), ["fe80::1%eth2"]);
        assert_eq!(hosts("fe80::2"), ["fe80::2"]);
    }
}
