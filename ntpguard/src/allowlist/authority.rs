//! Whose word counts for what: the one place where it is decided what may be granted.
//!
//! Whatever was read or heard is checked here after it was parsed. What is refused becomes a finding
//! where it is read, and no claim that fails the check reaches the kernel's tables or the state file.

use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Arc};

use ipnet::IpNet;
use ntpguard_common::{maps::tables::Role, wire::ntp};
use thiserror::Error;

use crate::{
    allowlist::claim::{Claim, is_address},
    resolve,
    scope::{Scoped, of_key},
    sources::{
        Host, Place, Problem, Reading, Severity, Speaker, Want,
        budget::Budget,
        speaker::{cure, who},
    },
};

/// Something that a configuration asks for, and whose word that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) want: Want,
    pub(super) speaker: Speaker,
}

/// Why a claim counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub(super) enum Refusal {
    /// The speaker may not grant the role.
    #[error("{} cannot grant `{}`; {}", who(*.0), .1.name(), cure(*.0))]
    Role(Speaker, Role),
    /// The speaker may deny nothing.
    #[error("{} cannot deny what other origins grant; {}", who(*.0), cure(*.0))]
    Denial(Speaker),
    /// The speaker may name single hosts alone.
    #[error("{} cannot grant roles to a network; {}", who(*.0), cure(*.0))]
    Network(Speaker),
    /// The speaker may not have another port judged.
    #[error(
        "{} cannot name a server at a port other than {}; {}",
        who(*.0), ntp::PORT, cure(*.0)
    )]
    Port(Speaker),
    /// No server can have the address.
    #[error("not an address that a server can have")]
    Address,
    /// The speaker has used up its budget of servers.
    #[error(
        "{} has used up its budget of {} servers; {}",
        who(*.0), Budget::of(*.0).servers, cure(*.0)
    )]
    Servers(Speaker),
    /// The speaker has used up its budget of names.
    #[error(
        "{} has used up its budget of {} names of servers; {}",
        who(*.0), Budget::of(*.0).names, cure(*.0)
    )]
    Names(Speaker),
}

/// Whether `speaker` may have `role`, or with none a denial, be said of `prefix`, which is not known
/// yet where DNS is to give it, at `port`.
fn check(
    speaker: Speaker,
    role: Option<Role>,
    prefix: Option<&IpNet>,
    port: u16,
) -> Result<(), Refusal> {
    // In the kernel's tables it would be another host's, on one interface.
    if prefix.is_some_and(is_key) {
        return Err(Refusal::Address);
    }
    let role = match (speaker, role) {
        (Speaker::Root, _) => return Ok(()),
        (_, Some(role)) => role,
        (_, None) => return Err(Refusal::Denial(speaker)),
    };
    if role != Role::Server {
        return Err(Refusal::Role(speaker, role));
    }
    if prefix.is_some_and(|prefix| !is_address(prefix)) {
        return Err(Refusal::Network(speaker));
    }
    if prefix.is_some_and(|prefix| resolve::refusal(prefix.addr()).is_some()) {
        return Err(Refusal::Address);
    }
    // At another port every packet of that host's is judged as NTP: what is no NTP, as of a DNS server
    // at 53, is dropped. Where the port is not judged, the replies from it are not dropped either.
    if port != ntp::PORT && matches!(speaker, Speaker::Others | Speaker::Container) {
        return Err(Refusal::Port(speaker));
    }
    Ok(())
}

/// Whether a single address has an interface in it, as those in the kernel's tables have.
fn is_key(prefix: &IpNet) -> bool {
    is_address(prefix) && of_key(prefix.addr()).is_some()
}

/// Whether a claim counts: what its speaker may say, of an address that DNS may give.
pub(super) fn allows(claim: &Claim) -> bool {
    let of_dns = claim.name.is_none()
        || is_address(&claim.prefix) && resolve::refusal(claim.prefix.addr()).is_none();
    of_dns && check(claim.speaker, claim.role, Some(&claim.prefix), claim.port).is_ok()
}

/// Takes out of a reading what its speakers may not ask for, or may ask for no more of, and makes findings
/// of that.
pub(super) fn sift(reading: &mut Reading) -> (Vec<Spoken>, Ledger) {
    let mut allowed = Vec::new();
    let mut refused = Refused::default();
    let mut ledger = Ledger::default();
    for want in std::mem::take(&mut reading.wants) {
        let speaker = reading.speaker(&want.place().file);
        let Some(said) = heard(want, speaker, &mut refused) else {
            continue;
        };
        match ledger.charge(&said) {
            Ok(()) => allowed.push(said),
            Err(why) => refused.add(said.want.place(), why),
        }
    }
    // First, so that no other problems push them out.
    reading.problems.splice(0..0, refused.problems());
    (allowed, ledger)
}

/// What each speaker has asked for so far in one configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    spent: BTreeMap<Speaker, Spent>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    servers: usize,
    names: usize,
}

impl Ledger {
    /// Charges what is asked for to its speaker, or says what of its budget is used up. To deny costs
    /// nothing here: root alone may.
    pub(super) fn charge(&mut self, said: &Spoken) -> Result<(), Refusal> {
        let Want::Source { host, .. } = &said.want else {
            return Ok(());
        };
        let budget = Budget::of(said.speaker);
        let spent = self.spent.entry(said.speaker).or_default();
        let is_name = matches!(host, Host::Name(_));
        if spent.servers >= budget.servers {
            return Err(Refusal::Servers(said.speaker));
        }
        if is_name && spent.names >= budget.names {
            return Err(Refusal::Names(said.speaker));
        }
        spent.servers += 1;
        spent.names += usize::from(is_name);
        Ok(())
    }
}

/// How many grants of all sources each speaker has had so far.
#[derive(Debug, Default)]
pub(super) struct Ration {
    granted: BTreeMap<Speaker, usize>,
}

impl Ration {
    /// Whether a claim counts: its speaker may make it, and has not made too many.
    pub(super) fn allows(&mut self, claim: &Claim) -> bool {
        if !allows(claim) {
            return false;
        }
        let granted = self.granted.entry(claim.speaker).or_default();
        *granted += 1;
        *granted <= Budget::of(claim.speaker).grants
    }

    /// The findings about those who wanted more than they may have.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        let over = self.granted.iter().map(|(speaker, granted)| {
            let most = Budget::of(*speaker).grants;
            (*speaker, *granted, most)
        });
        over.filter(|(_, granted, most)| granted > most)
            .map(|(speaker, _, most)| Problem {
                place: Place {
                    file: Path::new("allowlist").into(),
                    line: 0,
                    column: 0,
                },
                message: format!(
                    "{} has used up its budget of {most} grants in all, and the rest is left out; {}",
                    who(speaker),
                    cure(speaker)
                ),
                severity: Severity::Error,
            })
    }
}

/// The part of a want that its speaker may ask for.
fn heard(mut want: Want, speaker: Speaker, refused: &mut Refused) -> Option<Spoken> {
    let place = want.place().clone();
    let mut is_allowed = |role: Option<Role>, prefix: Option<&IpNet>, port: u16| {
        let checked = check(speaker, role, prefix, port);
        checked.map_err(|why| refused.add(&place, why)).is_ok()
    };
    let is_left = match &mut want {
        Want::Source {
            host, roles, port, ..
        } => {
            let prefix = match host {
                Host::Address(host) => Some(IpNet::from(host.address)),
                Host::Name(_) => None,
            };
            roles.retain(|role| is_allowed(Some(*role), prefix.as_ref(), *port));
            !roles.is_empty()
        }
        Want::Prefix { prefix, roles, .. } if roles.is_empty() => {
            is_allowed(None, Some(prefix), ntp::PORT)
        }
        Want::Prefix { prefix, roles, .. } => {
            roles.retain(|role| is_allowed(Some(*role), Some(prefix), ntp::PORT));
            !roles.is_empty()
        }
    };
    is_left.then_some(Spoken { want, speaker })
}

/// The finding that a daemon speaks with a peer by nobody's word but its own.
pub(super) fn unnamed_peer(daemon: &str, host: &Scoped<IpAddr>) -> Problem {
    let place = Place {
        file: Path::new(daemon).into(),
        line: 0,
        column: 0,
    };
    let refusal = Refusal::Role(Speaker::Daemon, Role::Peer);
    Problem {
        place,
        message: format!("{host} is granted `server` only: {refusal}"),
        severity: Severity::Note,
    }
}

/// What was refused of each file for each reason: where first, and how often.
#[derive(Default)]
struct Refused {
    found: BTreeMap<(Arc<Path>, Refusal), (Place, usize)>,
}

impl Refused {
    fn add(&mut self, place: &Place, why: Refusal) {
        let key = (Arc::clone(&place.file), why);
        let (_, count) = self.found.entry(key).or_insert_with(|| (place.clone(), 0));
        *count += 1;
    }

    fn problems(self) -> impl Iterator<Item = Problem> {
        self.found
            .into_iter()
            .map(|((_, why), (place, count))| Problem {
                place,
                message: match count {
                    1 => format!("ignored: {why}"),
                    _ => format!("ignored, here and {} more times: {why}", count - 1),
                },
                severity: Severity::Error,
            })
    }
}

#[cfg(test)]
mod tests {
    use ntpguard_common::maps::tables::Origin;

    use super::*;

    const OTHERS: [Speaker; 4] = [
        Speaker::CommandLine,
        Speaker::Daemon,
        Speaker::Others,
        Speaker::Container,
    ];

    fn claim(speaker: Speaker, prefix: &str, role: Option<Role>) -> Claim {
        Claim {
            role,
            speaker,
            ..Claim::new(prefix.parse().unwrap(), Origin::Config)
        }
    }

    #[test]
    fn root_may_say_everything() {
        for role in Role::ALL.into_iter().map(Some).chain([None]) {
            for prefix in ["192.0.2.1/32", "0.0.0.0/0", "2001:db8::/32"] {
                assert!(allows(&claim(Speaker::Root, prefix, role)), "{prefix}");
            }
        }
    }

    #[test]
    fn no_one_has_the_kernel_take_an_address_for_one_on_an_interface() {
        for role in [Some(Role::Server), None] {
            assert!(!allows(&claim(Speaker::Root, "fe80:0:0:3::1/128", role)));
            assert!(allows(&claim(Speaker::Root, "fe80::1/128", role)));
        }
    }

    #[test]
    fn others_may_name_single_servers_and_nothing_else() {
        for speaker in OTHERS {
            let server = Some(Role::Server);
            assert!(allows(&claim(speaker, "192.0.2.1/32", server)));
            assert!(allows(&claim(speaker, "2001:db8::1/128", server)));
            for wrong in ["192.0.2.0/31", "0.0.0.0/0", "127.0.0.1/32", "224.0.1.1/32"] {
                assert!(!allows(&claim(speaker, wrong, server)), "{wrong}");
            }
            let roles = Role::ALL.into_iter().filter(|role| *role != Role::Server);
            for role in roles.map(Some).chain([None]) {
                let said = claim(speaker, "192.0.2.1/32", role);
                assert!(!allows(&said), "{said:?}");
            }
        }
    }

    #[test]
    fn another_port_is_for_those_to_name_whom_root_started() {
        let at = |speaker| claim(speaker, "192.0.2.1/32", Some(Role::Server)).on(53);
        assert!(allows(&at(Speaker::Root)));
        assert!(allows(&at(Speaker::CommandLine)));
        assert!(allows(&at(Speaker::Daemon)));
        assert!(!allows(&at(Speaker::Others)));
        assert!(!allows(&at(Speaker::Container)));
    }

    #[test]
    fn dns_gives_single_addresses_that_a_server_can_have() {
        for (prefix, allowed) in [
            ("192.0.2.1/32", true),
            ("192.0.2.0/24", false),
            ("127.0.0.1/32", false),
            ("ff02::101/128", false),
        ] {
            let resolved = Claim {
                name: Some("a.example".to_owned()),
                ..claim(Speaker::Root, prefix, Some(Role::Client))
            };
            assert_eq!(allows(&resolved), allowed, "{prefix}");
        }
    }
}
