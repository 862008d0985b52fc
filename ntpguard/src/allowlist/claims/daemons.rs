//! What the running daemons say they use.

use std::collections::BTreeMap;

use ntpguard_common::maps::tables::{Origin, Role};

use super::servers::Servers;
use crate::{
    allowlist::claim::Claim,
    clock::BootSeconds,
    query::{Answer, InUse},
    resolve::{Names, Question},
    sources::{Family, Speaker},
};

/// How long, in seconds, a daemon's last answer counts where it gives none: long enough for it to
/// start again.
const SILENCE: u32 = 60;

/// The last answer of each daemon. Each one replaces the one before.
#[derive(Debug, Default)]
pub struct Daemons {
    heard: BTreeMap<String, (Answer, BootSeconds)>,
}

impl Daemons {
    /// Takes what a daemon says, or that it says nothing.
    pub fn heard(&mut self, daemon: &str, answer: Option<Answer>, now: BootSeconds) {
        match (answer, self.heard.get(daemon)) {
            (Some(answer), _) => {
                self.heard.insert(daemon.to_owned(), (answer, now));
            }
            (None, Some((_, last))) if now.since(*last) >= SILENCE => {
                self.heard.remove(daemon);
            }
            (None, _) => {}
        }
    }

    /// The daemons that have answered.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.heard.keys().map(String::as_str)
    }

    /// The sources in use, each with the daemon that says so.
    pub fn in_use(&self) -> impl Iterator<Item = (&str, &InUse)> {
        self.heard.iter().flat_map(|(daemon, (answer, _))| {
            let sources = answer.sources.iter();
            sources.map(move |source| (daemon.as_str(), source))
        })
    }

    /// The names that daemons would resolve.
    pub(in crate::allowlist) fn questions(&self) -> impl Iterator<Item = Question> {
        let answers = self.heard.values();
        answers
            .flat_map(|(answer, _)| &answer.names)
            .map(|name| Question::new(name, Family::Any))
    }

    /// What they vouch for, where those servers are asked, and the addresses of the names that they have.
    pub(in crate::allowlist) fn claims(&self, names: &Names, servers: &Servers) -> Vec<Claim> {
        let in_use = self.in_use().flat_map(|(daemon, source)| {
            let hosts = servers.hosts(source).into_iter();
            hosts.flat_map(move |host| {
                let base = Claim {
                    name: source.name.clone(),
                    comment: Some(format!("{daemon} uses it")),
                    ..Claim::of_host(&host, Origin::Daemon)
                };
                let at = servers.ports(source).into_iter();
                at.flat_map(move |port| base.clone().on(port).for_roles(&source.roles))
            })
        });
        let mut claims: Vec<Claim> = in_use.collect();
        for question in self.questions() {
            let resolved = names.held(&question).flat_map(|(address, held)| {
                Claim::resolved(&question.name, address, held)
                    .said_by(Speaker::Daemon)
                    .for_roles(&[Role::Server])
            });
            claims.extend(resolved);
        }
        claims
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(address: &str) -> Answer {
        Answer {
            sources: vec![InUse {
                address: address.parse().unwrap(),
                port: None,
                name: None,
                roles: vec![Role::Server, Role::Peer],
                selected: false,
            }],
            ..Answer::default()
        }
    }

    fn granted(daemons: &Daemons) -> Vec<String> {
        let claims = daemons.claims(&Names::default(), &Servers::default());
        claims
            .iter()
            .map(|claim| {
                format!(
                    "{} {} {}",
                    claim.prefix,
                    claim.role_name(),
                    claim.origin.name()
                )
            })
            .collect()
    }

    #[test]
    fn an_answer_replaces_the_one_before() {
        let mut daemons = Daemons::default();
        daemons.heard("chronyd", Some(uses("192.0.2.1")), BootSeconds(1));
        daemons.heard("ntpd", Some(uses("2001:db8::1")), BootSeconds(1));
        daemons.heard("chronyd", Some(uses("192.0.2.2")), BootSeconds(2));
        assert_eq!(
            granted(&daemons),
            [
                "192.0.2.2/32 server daemon",
                "192.0.2.2/32 peer daemon",
                "2001:db8::1/128 server daemon",
                "2001:db8::1/128 peer daemon",
            ]
        );
    }

    #[test]
    fn silence_counts_after_a_minute() {
        let mut daemons = Daemons::default();
        daemons.heard("chronyd", Some(uses("192.0.2.1")), BootSeconds(1));
        daemons.heard("chronyd", None, BootSeconds(60));
        assert_eq!(granted(&daemons).len(), 2);
        daemons.heard("chronyd", None, BootSeconds(61));
        assert!(granted(&daemons).is_empty());
    }
}
