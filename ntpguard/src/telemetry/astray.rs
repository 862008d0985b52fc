//! Answers that came from elsewhere than where this host asked, or to elsewhere than from where it did.
//!
//! A refused reply with the timestamp of a request is no forgery: who sent it has seen the request. So the two
//! are shown as a pair. It is looked for here and not in the kernel, where it would cost each request: the
//! requests stay in the kernel's tables until they are answered, and the events tell of refused replies.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use ntpguard_common::{
    events::{Event, PAYLOAD},
    reason::Reason,
    wire::ntp::{FirstByte, Mode, NO_TIMESTAMP, Timestamp},
};

use crate::datapath::Unanswered;

/// Refused replies that wait to be looked up: as many as events tell of between two looks.
const MOST_WAITING: usize = 1_024;

/// Pairs that are kept: the newest.
const MOST_PAIRS: usize = 64;

/// The time between two looks, nanoseconds.
const LOOK_EVERY: u64 = 2_000_000_000;

/// Requests of each of the kernel's tables that are looked through.
pub(super) const MOST_REQUESTS: usize = 4_096;

/// How far a rounded timestamp may be from the true one: a millisecond, in units of 2⁻³² seconds.
const ROUNDED_BY: u64 = (1 << 32) / 1_000;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Astray {
    /// It comes from another address than the one that was asked.
    FromAddress,
    /// It comes from another port than the one that was asked.
    FromPort,
    /// It goes to another address than the one that asked.
    ToAddress,
    /// It goes to another port than the one that asked.
    ToPort,
    /// Its origin timestamp is nearly that of the request.
    Rounded,
}

/// A request and an answer to it that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What is wrong with the answer.
    pub astray: Astray,
    /// Which server was asked.
    pub asked: SocketAddr,
    /// From where.
    pub local: SocketAddr,
    /// Who answered.
    pub from: SocketAddr,
    /// To where.
    pub to: SocketAddr,
    /// How often that was seen, in the packets that are sampled.
    pub seen: u64,
    /// When it was last, nanoseconds of monotonic time.
    pub last: u64,
}

impl Pair {
    /// What pairs are the same by: clients may have a new port for each request.
    fn kind(&self) -> (Astray, SocketAddr, SocketAddr) {
        (self.astray, self.asked, self.from)
    }
}

/// A refused reply.
#[derive(Clone, Copy, Debug)]
struct Refused {
    from: SocketAddr,
    to: SocketAddr,
    origin: Timestamp,
    time: u64,
}

/// Finds the pairs, and keeps them.
#[derive(Debug, Default)]
pub struct Pairs {
    waiting: Vec<Refused>,
    found: Vec<Pair>,
    looked: u64,
}

impl Pairs {
    /// Takes note of a packet that was judged for `reason`, if it is a reply that was refused.
    pub(super) fn take(&mut self, event: &Event, reason: Reason) {
        let is_reply = event.depth >= PAYLOAD && FirstByte(event.first).mode() == Mode::Server;
        // Late and long ones come from where they should.
        let is_astray = matches!(
            reason,
            Reason::Unlisted | Reason::Role | Reason::Unsolicited | Reason::Origin | Reason::Mode
        );
        if !is_reply
            || !is_astray
            || event.origin == NO_TIMESTAMP
            || self.waiting.len() >= MOST_WAITING
        {
            return;
        }
        let end =
            |address: [u8; 16], port| SocketAddr::new(IpAddr::from(address).to_canonical(), port);
        self.waiting.push(Refused {
            from: end(event.source, event.source_port),
            to: end(event.destination, event.destination_port),
            origin: event.origin,
            time: event.time,
        });
    }

    /// Whether it is time to look for the requests of what waits.
    pub(super) const fn is_due(&self, now: u64) -> bool {
        !self.waiting.is_empty() && now.saturating_sub(self.looked) >= LOOK_EVERY
    }

    /// Looks for the requests of what waits, among these.
    pub(super) fn look(&mut self, requests: &[Unanswered], now: u64) {
        self.looked = now;
        let index = Index::of(requests);
        for refused in std::mem::take(&mut self.waiting) {
            if let Some(pair) = index.pair(&refused) {
                self.keep(pair);
            }
        }
    }

    fn keep(&mut self, pair: Pair) {
        let known = self
            .found
            .iter()
            .position(|known| known.kind() == pair.kind());
        let seen = known.map_or(0, |place| self.found.remove(place).seen);
        self.found.push(Pair {
            seen: seen + 1,
            ..pair
        });
        if self.found.len() > MOST_PAIRS {
            self.found.remove(0);
        }
    }

    /// The pairs, the newest first.
    pub fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.found.iter().rev()
    }
}

/// Requests by what an answer to them has.
struct Index<'a> {
    by_token: HashMap<Timestamp, &'a Unanswered>,
    by_ends: HashMap<(SocketAddr, SocketAddr), HashSet<Timestamp>>,
}

impl<'a> Index<'a> {
    fn of(requests: &'a [Unanswered]) -> Self {
        let mut by_ends: HashMap<_, HashSet<_>> = HashMap::new();
        for request in requests {
            let tokens = by_ends.entry((request.server, request.local)).or_default();
            tokens.insert(request.token);
        }
        Self {
            by_token: requests
                .iter()
                .map(|request| (request.token, request))
                .collect(),
            by_ends,
        }
    }

    fn pair(&self, refused: &Refused) -> Option<Pair> {
        let pair = |astray, asked, local| Pair {
            astray,
            asked,
            local,
            from: refused.from,
            to: refused.to,
            seen: 0,
            last: refused.time,
        };
        if let Some(request) = self.by_token.get(&refused.origin) {
            let astray = astray(request, refused)?;
            return Some(pair(astray, request.server, request.local));
        }
        let tokens = self.by_ends.get(&(refused.from, refused.to))?;
        let is_near = |token: &Timestamp| {
            let [token, origin] = [*token, refused.origin].map(u64::from_be_bytes);
            token.abs_diff(origin) <= ROUNDED_BY
        };
        tokens
            .iter()
            .any(is_near)
            .then(|| pair(Astray::Rounded, refused.from, refused.to))
    }
}

/// What is wrong with an answer that has the request's timestamp.
fn astray(request: &Unanswered, refused: &Refused) -> Option<Astray> {
    let (server, local) = (request.server, request.local);
    if server.ip() != refused.from.ip() {
        Some(Astray::FromAddress)
    } else if server.port() != refused.from.port() {
        Some(Astray::FromPort)
    } else if local.ip() != refused.to.ip() {
        Some(Astray::ToAddress)
    } else if local.port() != refused.to.port() {
        Some(Astray::ToPort)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Timestamp = *b"transmit";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn request() -> Unanswered {
        Unanswered {
            server: at("192.0.2.1:123"),
            local: at("198.51.100.1:40000"),
            token: TOKEN,
        }
    }

    fn reply(from: &str, to: &str, origin: Timestamp) -> Event {
        let (from, to) = (at(from), at(to));
        let mapped = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Event {
            source: mapped(from.ip()),
            destination: mapped(to.ip()),
            source_port: from.port(),
            destination_port: to.port(),
            first: 0x24,
            depth: PAYLOAD,
            origin,
            time: 7,
            ..Event::default()
        }
    }

    /// What is found of one refused reply.
    fn found(from: &str, to: &str, origin: Timestamp) -> Option<Pair> {
        let mut pairs = Pairs::default();
        pairs.take(&reply(from, to, origin), Reason::Origin);
        assert!(pairs.is_due(LOOK_EVERY));
        pairs.look(&[request()], LOOK_EVERY);
        assert!(!pairs.is_due(u64::MAX), "nothing waits any more");
        pairs.pairs().next().copied()
    }

    #[test]
    fn an_answer_is_found_to_come_from_or_go_elsewhere() {
        let (server, local) = ("192.0.2.1:123", "198.51.100.1:40000");
        for (from, to, astray) in [
            ("192.0.2.2:123", local, Astray::FromAddress),
            ("192.0.2.1:124", local, Astray::FromPort),
            (server, "198.51.100.2:40000", Astray::ToAddress),
            (server, "198.51.100.1:40001", Astray::ToPort),
        ] {
            let pair = found(from, to, TOKEN).unwrap();
            assert_eq!(pair.astray, astray);
            assert_eq!((pair.asked, pair.local), (at(server), at(local)));
            assert_eq!((pair.from, pair.to), (at(from), at(to)));
            assert_eq!((pair.seen, pair.last), (1, 7));
        }
        assert_eq!(
            found(server, local, TOKEN),
            None,
            "that is late, or too long"
        );
        assert_eq!(found("192.0.2.2:123", local, *b"a guess!"), None);
    }

    #[test]
    fn a_timestamp_is_rounded_within_a_millisecond_and_between_the_same_ends() {
        let (server, local) = ("192.0.2.1:123", "198.51.100.1:40000");
        let off = |by: u64| (u64::from_be_bytes(TOKEN) - by).to_be_bytes();
        for by in [1, 1 << 10, ROUNDED_BY] {
            let pair = found(server, local, off(by)).unwrap();
            assert_eq!(pair.astray, Astray::Rounded);
        }
        assert_eq!(found(server, local, off(ROUNDED_BY + 1)), None);
        assert_eq!(found("192.0.2.2:123", local, off(1)), None);
    }

    #[test]
    fn only_refused_replies_wait_and_a_flood_of_them_takes_no_more_room() {
        let mut pairs = Pairs::default();
        let answer = reply("192.0.2.2:123", "198.51.100.1:40000", TOKEN);
        pairs.take(&answer, Reason::Server);
        pairs.take(&answer, Reason::Oversize);
        pairs.take(
            &Event {
                first: 0x23,
                ..answer
            },
            Reason::Unlisted,
        );
        pairs.take(
            &Event {
                origin: NO_TIMESTAMP,
                ..answer
            },
            Reason::Unlisted,
        );
        assert!(pairs.waiting.is_empty());
        for _ in 0..MOST_WAITING * 3 {
            pairs.take(&answer, Reason::Unlisted);
        }
        assert_eq!(pairs.waiting.len(), MOST_WAITING);
        pairs.look(&[request()], 1);
        assert_eq!(pairs.found.len(), 1);
        assert_eq!(pairs.found[0].seen, MOST_WAITING as u64);
    }

    #[test]
    fn the_newest_pairs_are_kept() {
        let mut pairs = Pairs::default();
        for number in 0..=MOST_PAIRS {
            let from = format!("203.0.113.{number}:123");
            pairs.take(&reply(&from, "198.51.100.1:40000", TOKEN), Reason::Unlisted);
        }
        pairs.look(&[request()], 1);
        let from: Vec<_> = pairs.pairs().map(|pair| pair.from).collect();
        assert_eq!(from.len(), MOST_PAIRS);
        assert_eq!(from[0], at(&format!("203.0.113.{MOST_PAIRS}:123")));
        assert!(!from.contains(&at("203.0.113.0:123")));
    }
}
