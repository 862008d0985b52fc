//! The answer to `ntpguard sources`: what is named, what is in use, and what differs.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{
    allowlist::waits,
    status::{SCHEMA, Source},
};
use crate::{
    allowlist::ClaimSet,
    clock::BootSeconds,
    resolve::Question,
    scope::{Interfaces, Scoped},
    sources::{self, Host, Place, Problem, Want},
};

/// Everything that is known of the time sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The configurations that are read, and why.
    pub sources: Vec<Source>,
    /// The time sources that they name.
    pub named: Vec<Named>,
    /// The daemons that told what they use.
    pub daemons: Vec<String>,
    /// What they use.
    pub in_use: Vec<Used>,
    /// The daemons that run and do not say what they use.
    pub silent: Vec<Silent>,
    /// What is wrong with the configurations.
    pub problems: Vec<Problem>,
}

/// A daemon that does not say what it uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    /// The daemon.
    pub daemon: String,
    /// Why not.
    pub why: String,
}

/// A time source that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name or address, as it is written.
    pub host: String,
    /// The port that it is asked at.
    pub port: u16,
    /// What it may be.
    pub roles: Vec<String>,
    /// Where it is written; absent for a name that only a daemon tells.
    pub place: Option<Place>,
    /// The addresses that are held for it.
    pub addresses: Vec<Scoped<IpAddr>>,
    /// Whether the interface of a link-local address is not there, so that nothing is granted yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits_for_interface: bool,
    /// Seconds until its name is resolved again; absent for an address, and while it is resolved.
    pub next_in: Option<u32>,
    /// Whether a daemon uses any of these; absent where no daemon tells.
    pub in_use: Option<bool>,
}

/// A time source that a daemon uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The daemon.
    pub daemon: String,
    /// The source's address, and the interface if the daemon tells.
    pub address: Scoped<IpAddr>,
    /// The port that it is asked at, if the daemon tells.
    pub port: Option<u16>,
    /// The name that the daemon knows it by.
    pub name: Option<String>,
    /// What it is to the daemon.
    pub roles: Vec<String>,
    /// Whether the daemon takes its time from it just now, as far as it tells.
    pub selected: bool,
    /// Whether a configuration names it, or a name there leads to it.
    pub named: bool,
}

impl Inventory {
    /// Gathers it from the book, which `sources` were read into, and the daemons that are `silent`, each
    /// with why.
    pub fn of<'a>(
        book: &ClaimSet,
        sources: &[sources::Source],
        silent: impl IntoIterator<Item = (&'a str, &'a str)>,
        now: BootSeconds,
    ) -> Self {
        let interfaces = &book.interfaces;
        let in_use = book.daemons.in_use();
        let used = Hosts::of(in_use.map(|(_, used)| &used.address), interfaces);
        let daemons: Vec<String> = book.daemons.names().map(str::to_owned).collect();
        let mut named: Vec<Named> = book
            .wants()
            .filter_map(|(_, want)| Named::of(want, book, now))
            .collect();
        for named in &mut named {
            let in_use = named.addresses.iter().any(|host| used.have(host));
            named.in_use = (!daemons.is_empty()).then_some(in_use);
        }
        let known = named.iter().flat_map(|named| &named.addresses);
        let known = Hosts::of(known, interfaces);
        let in_use = book.daemons.in_use().map(|(daemon, used)| {
            let address = on_named(&used.address, interfaces);
            Used {
                daemon: daemon.to_owned(),
                named: known.have(&address),
                address,
                port: used.port,
                name: used.name.clone(),
                roles: used
                    .roles
                    .iter()
                    .map(|role| role.name().to_owned())
                    .collect(),
                selected: used.selected,
            }
        });
        let silent = silent.into_iter().map(|(daemon, why)| Silent {
            daemon: daemon.to_owned(),
            why: why.to_owned(),
        });
        Self {
            schema: SCHEMA,
            sources: sources.iter().map(Source::of).collect(),
            in_use: in_use.collect(),
            named,
            daemons,
            silent: silent.collect(),
            problems: book.problems().collect(),
        }
    }
}

/// Hosts to compare others with.
struct Hosts(BTreeSet<Scoped<IpAddr>>);

impl Hosts {
    fn of<'a>(hosts: impl Iterator<Item = &'a Scoped<IpAddr>>, interfaces: &Interfaces) -> Self {
        Self(hosts.map(|host| on_named(host, interfaces)).collect())
    }

    /// Whether a host may be among them: one without an interface may be on any.
    fn have(&self, host: &Scoped<IpAddr>) -> bool {
        let anywhere = Scoped::from(host.address);
        if host.scope.is_some() {
            return self.0.contains(host) || self.0.contains(&anywhere);
        }
        // In this order it comes before all that are on an interface.
        let next = self.0.range(anywhere..).next();
        next.is_some_and(|next| next.address == host.address)
    }
}

/// A host, on the interface as the kernel calls it.
fn on_named(host: &Scoped<IpAddr>, interfaces: &Interfaces) -> Scoped<IpAddr> {
    let scope = host.scope.as_ref();
    Scoped {
        address: host.address,
        scope: scope.map(|scope| interfaces.named(scope)),
    }
}

impl Named {
    fn of(want: &Want, book: &ClaimSet, now: BootSeconds) -> Option<Self> {
        let Want::Source {
            host,
            family,
            port,
            roles,
            place,
        } = want
        else {
            return None;
        };
        let (host, addresses, next_in) = match host {
            Host::Address(host) => (
                host.to_string(),
                vec![on_named(host, &book.interfaces)],
                None,
            ),
            Host::Name(name) => {
                let question = Question::new(name, *family);
                let held = book.names.held(&question);
                let addresses = held.map(|(address, _)| address.into()).collect();
                let status = book.names.status(now).into_iter();
                let next = status
                    .filter(|status| status.question == question)
                    .find_map(|status| status.next_in);
                (name.clone(), addresses, next)
            }
        };
        Some(Self {
            host,
            port: *port,
            roles: roles.iter().map(|role| role.name().to_owned()).collect(),
            place: Some(place.clone()),
            waits_for_interface: addresses.iter().any(|host| waits(host, &book.interfaces)),
            addresses,
            next_in,
            in_use: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ntpguard_common::maps::tables::Role;

    use super::*;
    use crate::{
        query::{Answer, InUse},
        resolve,
        sources::{Family, Reading, Speaker},
    };

    const NOW: BootSeconds = BootSeconds(100);

    fn want(host: Host, line: u32) -> Want {
        Want::Source {
            host,
            family: Family::Any,
            port: 123,
            roles: vec![Role::Server],
            place: Place {
                file: Path::new("/etc/ntp.conf").into(),
                line,
                column: 8,
            },
        }
    }

    fn book() -> ClaimSet {
        let mut book = ClaimSet::default();
        let reading = Reading {
            speakers: [(Path::new("/etc/ntp.conf").into(), Speaker::Root)].into(),
            wants: vec![
                want(Host::Address("192.0.2.1".parse().unwrap()), 1),
                want(Host::Name("a.example".to_owned()), 2),
            ],
            ..Reading::default()
        };
        book.read(
            "ntp.conf:/etc/ntp.conf",
            Path::new("/etc/ntp.conf"),
            reading,
            NOW,
        );
        book
    }

    #[test]
    fn what_no_daemon_tells_is_neither_in_use_nor_idle() {
        let inventory = Inventory::of(&book(), &[], [], NOW);
        let named: Vec<_> = inventory
            .named
            .iter()
            .map(|named| (&*named.host, named.in_use))
            .collect();
        assert_eq!(named, [("192.0.2.1", None), ("a.example", None)]);
    }

    #[test]
    fn named_and_used_are_compared_by_address() {
        let mut book = book();
        let question = Question::new("a.example", Family::Any);
        let answer = resolve::Answer {
            addresses: vec!["192.0.2.7".parse().unwrap()],
            ..resolve::Answer::default()
        };
        book.names.answered(&question, &answer, NOW, 0.0);
        let used = |address: &str| InUse {
            address: address.parse().unwrap(),
            port: None,
            name: None,
            roles: vec![Role::Server],
            selected: false,
        };
        let heard = Answer {
            sources: vec![used("192.0.2.7"), used("192.0.2.9")],
            ..Answer::default()
        };
        book.heard("chronyd", Some(heard), NOW);
        let inventory = Inventory::of(&book, &[], [], NOW);
        let named: Vec<_> = inventory.named.iter().map(|named| named.in_use).collect();
        assert_eq!(named, [Some(false), Some(true)]);
        let used: Vec<_> = inventory.in_use.iter().map(|used| used.named).collect();
        assert_eq!(used, [true, false]);
    }

    #[test]
    fn a_link_local_server_is_compared_with_its_interface() {
        let mut interfaces = Interfaces::default();
        interfaces.add(2, "eth0");
        let hosts: Vec<Scoped<IpAddr>> = ["fe80::1%eth0", "fe80::2", "192.0.2.1"]
            .map(|host| host.parse().unwrap())
            .into();
        let hosts = Hosts::of(hosts.iter(), &interfaces);
        for (host, is_there) in [
            ("fe80::1%eth0", true),
            ("fe80::1%2", true),
            ("fe80::1", true),
            ("fe80::1%eth1", false),
            ("fe80::2%eth1", true),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
        ] {
            let host = on_named(&host.parse().unwrap(), &interfaces);
            assert_eq!(hosts.have(&host), is_there, "{host}");
        }
    }
}
