//! What the guard and a reader of names say to each other.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Answer, Failure, Question, Record};
use crate::{readers::Name, sources::Family};

/// Most addresses of one answer, of which few count: more do not fit into a message of DNS.
const MAX_ADDRESSES: usize = 8_192;
/// The longest complaint, in characters.
const MAX_COMPLAINT: usize = 300;

/// What a reader is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) question: Question,
    pub(super) servers: Asked,
    /// Whether the first of its descriptors is the hosts file.
    pub(super) has_hosts: bool,
    /// How long one server has.
    pub(super) timeout: Duration,
}

/// Whom it is to ask.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Asked {
    Given(Vec<SocketAddr>),
    /// Those that a file names, which is the last of its descriptors.
    System(Name),
    /// No one, since that file is not there.
    Absent(Name),
    /// No one, since that file cannot be opened.
    Refused(Name, String),
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Said(Result<Records, Trouble>);

/// The addresses, those that no server can have among them.
#[derive(Debug, Serialize, Deserialize)]
struct Records {
    addresses: Vec<IpAddr>,
    ttl: u32,
    over_cap: u32,
    unanswered: Option<Family>,
}

/// Why there are none.
#[derive(Debug, Serialize, Deserialize)]
enum Trouble {
    BadName(String),
    NoSuchName,
    NoAddresses,
    Timeout,
    ServerFailed(SocketAddr, String),
    NoServers(Name, String),
    Unreadable(Name, String),
    NotAsked(String),
}

/// An answer as a message.
pub(super) fn said(answer: Result<Answer, Failure>) -> Said {
    let only = |refused: Vec<(IpAddr, &'static str)>| Records {
        addresses: refused.into_iter().map(|(address, _)| address).collect(),
        ttl: 0,
        over_cap: 0,
        unanswered: None,
    };
    Said(match answer {
        Ok(answer) => {
            let refused = answer.refused.into_iter().map(|(address, _)| address);
            Ok(Records {
                addresses: answer.addresses.into_iter().chain(refused).collect(),
                ttl: answer.ttl,
                over_cap: u32::try_from(answer.over_cap).unwrap_or(u32::MAX),
                unanswered: answer.unanswered,
            })
        }
        Err(Failure::OnlyRefused { refused }) => Ok(only(refused)),
        Err(Failure::BadName { message }) => Err(Trouble::BadName(message)),
        Err(Failure::NoSuchName) => Err(Trouble::NoSuchName),
        Err(Failure::NoAddresses) => Err(Trouble::NoAddresses),
        Err(Failure::Timeout) => Err(Trouble::Timeout),
        Err(Failure::ServerFailed { server, message }) => {
            Err(Trouble::ServerFailed(server, message))
        }
        Err(Failure::NoServers { file, message }) => {
            Err(Trouble::NoServers(Name::from(&file), message))
        }
        Err(Failure::Unreadable { file, message }) => {
            Err(Trouble::Unreadable(Name::from(&file), message))
        }
        Err(Failure::NotAsked { message }) => Err(Trouble::NotAsked(message)),
    })
}

impl Said {
    /// The answer to `question` that this is: what can be no answer to it is left out, and which addresses
    /// a server can have is judged here.
    pub(super) fn answer(self, question: &Question) -> Result<Answer, Failure> {
        let records = self.0.map_err(Failure::from)?;
        let found = records.addresses.into_iter().take(MAX_ADDRESSES);
        let found = found.filter(|address| question.covers(*address));
        let found = found.map(|address| Record {
            address,
            ttl: records.ttl,
        });
        let answer = Answer::new(found, records.unanswered)?;
        Ok(Answer {
            over_cap: answer.over_cap.max(records.over_cap as usize),
            ..answer
        })
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let cut = |message: String| message.chars().take(MAX_COMPLAINT).collect();
        match trouble {
            Trouble::BadName(message) => Self::BadName {
                message: cut(message),
            },
            Trouble::NoSuchName => Self::NoSuchName,
            Trouble::NoAddresses => Self::NoAddresses,
            Trouble::Timeout => Self::Timeout,
            Trouble::ServerFailed(server, message) => Self::ServerFailed {
                server,
                message: cut(message),
            },
            Trouble::NoServers(file, message) => Self::NoServers {
                file: file.path(),
                message: cut(message),
            },
            Trouble::Unreadable(file, message) => Self::Unreadable {
                file: file.path(),
                message: cut(message),
            },
            Trouble::NotAsked(message) => Self::NotAsked {
                message: cut(message),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::refusal, *};

    /// What a reader may have come to say that DNS has taken over.
    #[test]
    fn whatever_a_reader_says_the_guard_judges_the_addresses() {
        let all: Vec<IpAddr> = (0..=u16::MAX)
            .map(|number| IpAddr::from([(number >> 8) as u8, number as u8, 0, 1]))
            .chain(["::1".parse().unwrap(), "ff02::1".parse().unwrap()])
            .collect();
        let said = Said(Ok(Records {
            addresses: all,
            ttl: u32::MAX,
            over_cap: u32::MAX,
            unanswered: None,
        }));
        let question = Question::new("a.example", Family::V4);
        let answer = said.answer(&question).unwrap();
        assert!(answer.addresses.len() <= super::super::MAX_ADDRESSES_PER_ANSWER);
        assert_eq!(answer.ttl, 0);
        for address in answer.addresses {
            assert!(address.is_ipv4() && refusal(address).is_none(), "{address}");
        }
    }
}
