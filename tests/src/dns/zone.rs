//! What a DNS server says of each name.

use std::{collections::HashMap, net::IpAddr};

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME},
    },
};

/// The lifetime of records whose behaviour gives none, in seconds.
const TTL: u32 = 60;

/// How far an answer follows aliases; a loop goes round until here.
const MOST_ALIASES: usize = 16;

/// How a name is answered. Addresses of the family that was not asked for are left out.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Other addresses at every question, in turn, as pool.ntp.org does.
    Rotate {
        /// All the addresses.
        pool: Vec<IpAddr>,
        /// How many of them one answer has.
        per_answer: usize,
        /// Their lifetime in seconds.
        ttl: u32,
    },
    /// Always these addresses.
    Fixed {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// Their lifetime in seconds.
        ttl: u32,
    },
    /// An alias; the answer holds what the target has, too.
    Cname(String),
    /// This many IPv4 addresses, from 10.0.0.1 up: cut off over UDP, whole over TCP. A message
    /// has room for 4,000.
    Many(u16),
    /// The server failed.
    ServFail,
    /// There is no such name. What a zone does not know is answered so.
    NxDomain,
    /// Bytes that are no DNS message.
    Garbage,
    /// No answer at all.
    Silent,
}

/// What a server is to send.
#[derive(Debug)]
pub(super) enum Answer {
    Message(Box<Message>),
    Garbage,
    Nothing,
}

/// Names with their behaviour.
#[derive(Debug, Default)]
pub(super) struct Zone {
    names: HashMap<String, Named>,
}

#[derive(Debug)]
struct Named {
    behaviour: Behaviour,
    /// Where the next answer of a rotation begins, for IPv4 and for IPv6.
    next: [usize; 2],
}

impl Zone {
    pub(super) fn set(&mut self, name: &str, behaviour: Behaviour) {
        self.names.insert(
            plain(name),
            Named {
                behaviour,
                next: [0; 2],
            },
        );
    }

    /// Answers a question, of which there must be one.
    pub(super) fn answer(&mut self, question: &Message) -> Answer {
        let mut answer = question.clone().into_response();
        answer.metadata.authoritative = true;
        answer.metadata.recursion_available = true;
        // The server's own limits are of no interest, and a stripped section is allowed.
        answer.additionals.clear();
        let Some(query) = question.queries.first() else {
            answer.metadata.response_code = ResponseCode::FormErr;
            return Answer::Message(Box::new(answer));
        };
        let mut owner = query.name().clone();
        for _ in 0..MOST_ALIASES {
            let step = self.step(&owner, query);
            match step {
                Step::Addresses(records) => {
                    answer.add_answers(records);
                    break;
                }
                Step::Alias(target) => {
                    let alias = RData::CNAME(CNAME(target.clone()));
                    answer.add_answer(Record::from_rdata(owner, TTL, alias));
                    owner = target;
                }
                Step::Code(code) => {
                    answer.metadata.response_code = code;
                    break;
                }
                Step::Garbage => return Answer::Garbage,
                Step::Nothing => return Answer::Nothing,
            }
        }
        Answer::Message(Box::new(answer))
    }

    fn step(&mut self, owner: &Name, query: &Query) -> Step {
        let Some(named) = self.names.get_mut(&plain(&owner.to_ascii())) else {
            return Step::Code(ResponseCode::NXDomain);
        };
        let kind = query.query_type();
        let (addresses, ttl) = match &named.behaviour {
            Behaviour::Rotate {
                pool,
                per_answer,
                ttl,
            } => {
                let pool = of_family(pool, kind);
                let next = &mut named.next[usize::from(kind == RecordType::AAAA)];
                let begin = *next;
                *next += per_answer;
                let turn = pool.iter().cycle().skip(begin % pool.len().max(1));
                (
                    turn.take(*per_answer.min(&pool.len())).copied().collect(),
                    *ttl,
                )
            }
            Behaviour::Fixed { addresses, ttl } => (of_family(addresses, kind), *ttl),
            Behaviour::Many(count) => (of_family(&many(*count), kind), TTL),
            Behaviour::Cname(target) => {
                return Name::from_ascii(target)
                    .map_or(Step::Code(ResponseCode::ServFail), Step::Alias);
            }
            Behaviour::ServFail => return Step::Code(ResponseCode::ServFail),
            Behaviour::NxDomain => return Step::Code(ResponseCode::NXDomain),
            Behaviour::Garbage => return Step::Garbage,
            Behaviour::Silent => return Step::Nothing,
        };
        let record = |address: IpAddr| Record::from_rdata(owner.clone(), ttl, data(address));
        Step::Addresses(addresses.into_iter().map(record).collect())
    }
}

/// What one name leads to.
enum Step {
    Addresses(Vec<Record>),
    Alias(Name),
    Code(ResponseCode),
    Garbage,
    Nothing,
}

/// A name as the zone keeps it: names are equal whatever their case and their last dot.
pub(super) fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn of_family(addresses: &[IpAddr], kind: RecordType) -> Vec<IpAddr> {
    let wanted = |address: &&IpAddr| match kind {
        RecordType::A => address.is_ipv4(),
        RecordType::AAAA => address.is_ipv6(),
        _ => false,
    };
    addresses.iter().filter(wanted).copied().collect()
}

fn many(count: u16) -> Vec<IpAddr> {
    let address = |number: u16| {
        let [high, low] = number.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    };
    (1..=count).map(address).collect()
}

fn data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}
