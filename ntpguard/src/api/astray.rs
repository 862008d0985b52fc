//! Answers that went astray, as `ntpguard status` shows them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    clock::BootSeconds,
    telemetry::astray::{Astray, Pair},
};

/// A request, and an answer to it that was refused because it came from or went elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// `from-address`, `from-port`, `to-address`, `to-port` or `rounded`: what is wrong with the answer.
    pub astray: String,
    /// Which server was asked.
    pub asked: SocketAddr,
    /// From where.
    pub asked_from: SocketAddr,
    /// Who answered.
    pub answered_from: SocketAddr,
    /// To where.
    pub answered_to: SocketAddr,
    /// How often that was seen, of the packets that are sampled.
    pub seen: u64,
    /// Seconds since the last time.
    pub seconds_ago: u32,
    /// The same in words.
    pub text: String,
    /// What may be the cause.
    pub hint: String,
}

impl Answer {
    /// What a pair comes to at `now`.
    pub fn of(pair: &Pair, now: BootSeconds) -> Self {
        Self {
            astray: name(pair.astray).to_owned(),
            asked: pair.asked,
            asked_from: pair.local,
            answered_from: pair.from,
            answered_to: pair.to,
            seen: pair.seen,
            seconds_ago: now.since(BootSeconds::from_monotonic(pair.last)),
            text: text(pair),
            hint: hint(pair),
        }
    }
}

const fn name(astray: Astray) -> &'static str {
    match astray {
        Astray::FromAddress => "from-address",
        Astray::FromPort => "from-port",
        Astray::ToAddress => "to-address",
        Astray::ToPort => "to-port",
        Astray::Rounded => "rounded",
    }
}

fn text(pair: &Pair) -> String {
    let asked = pair.asked.ip();
    match pair.astray {
        Astray::FromAddress => format!("queried {asked}, reply came from {}", pair.from.ip()),
        Astray::FromPort => format!(
            "queried {asked} port {}, reply came from port {}",
            pair.asked.port(),
            pair.from.port()
        ),
        Astray::ToAddress => format!(
            "queried {asked} from {}, reply went to {}",
            pair.local.ip(),
            pair.to.ip()
        ),
        Astray::ToPort => format!(
            "queried {asked} from port {}, reply went to port {}",
            pair.local.port(),
            pair.to.port()
        ),
        Astray::Rounded => format!("queried {asked}, reply has a rounded timestamp"),
    }
}

fn hint(pair: &Pair) -> String {
    match pair.astray {
        Astray::FromAddress => format!(
            "the server has several addresses; time daemons reject this reply too: name {} in the \
             configuration instead",
            pair.from.ip()
        ),
        Astray::FromPort | Astray::ToAddress | Astray::ToPort => {
            "a device on the path, such as a NAT, changes addresses or ports: the reply does not \
             reach the process that sent the request"
                .to_owned()
        }
        Astray::Rounded => {
            "time daemons reject this reply too: use another server. If the daemon sends the time \
             of day as its timestamp, as the classic ntpd does, the reply can also be a guess"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_reads_as_who_was_asked_and_who_answered() {
        let pair = |astray| Pair {
            astray,
            asked: "192.0.2.1:123".parse().unwrap(),
            local: "198.51.100.1:40000".parse().unwrap(),
            from: "192.0.2.2:124".parse().unwrap(),
            to: "198.51.100.2:40001".parse().unwrap(),
            seen: 3,
            last: 5_000_000_000,
        };
        for (astray, text) in [
            (
                Astray::FromAddress,
                "queried 192.0.2.1, reply came from 192.0.2.2",
            ),
            (
                Astray::FromPort,
                "queried 192.0.2.1 port 123, reply came from port 124",
            ),
            (
                Astray::ToAddress,
                "queried 192.0.2.1 from 198.51.100.1, reply went to 198.51.100.2",
            ),
            (
                Astray::ToPort,
                "queried 192.0.2.1 from port 40000, reply went to port 40001",
            ),
            (
                Astray::Rounded,
                "queried 192.0.2.1, reply has a rounded timestamp",
            ),
        ] {
            assert_eq!(Answer::of(&pair(astray), BootSeconds(9)).text, text);
        }
    }
}
