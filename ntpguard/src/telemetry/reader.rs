//! The one reader of the sampled verdicts.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use ntpguard_common::{
    events::{self, ADDRESSES, EVENTS_SIZE},
    reason::Reason,
};
use tokio::time::sleep;

use super::{EventHub, astray::MOST_REQUESTS, tally::Tally, top_talkers::Kind};
use crate::{
    api::events::Event,
    clock::monotonic_nanoseconds,
    datapath::{Error, Mode, OpenRequests, PinDir, Verdicts},
};

/// How long it rests after a look that found something. Nothing wakes it, so that no packet is late for
/// being told; meanwhile the buffer holds more than the kernel may tell.
const SHORTEST_REST: Duration = Duration::from_millis(20);

/// How long it rests at most while there is nothing, and somebody waits for it.
const FOLLOWED_REST: Duration = Duration::from_millis(80);

/// How long it rests at most.
const LONGEST_REST: Duration = Duration::from_millis(640);

/// The most events of one look: all that the buffer has room for.
const AT_ONCE: usize = EVENTS_SIZE / size_of::<events::Event>();

/// Bits of an IPv6 address that one host can have to itself, as the rate limits take it.
const V6_SENDER: u8 = 64;

/// Reads the verdicts of one guard.
#[derive(Debug)]
pub struct EventReader {
    verdicts: Verdicts,
    noted: OpenRequests,
    tally: Tally,
    hub: Arc<EventHub>,
}

impl EventReader {
    /// Begins now: what is in the buffer already is forgotten, since it may be of any age.
    pub fn open(pins: &PinDir, hub: Arc<EventHub>) -> Result<Self, Error> {
        let mut verdicts = Verdicts::open(pins)?;
        // In this order: what is told has been counted before.
        let tally = Tally::new(verdicts.counted()?);
        verdicts.forget();
        Ok(Self {
            verdicts,
            noted: OpenRequests::open(pins)?,
            tally,
            hub,
        })
    }

    /// Tells for ever, and ends where the kernel gives no more.
    pub async fn tell(mut self) -> Result<Infallible, Error> {
        let mut rest = SHORTEST_REST;
        loop {
            let told = self.tell_once()?;
            self.find_pairs();
            rest = if told {
                SHORTEST_REST
            } else if self.hub.is_followed() {
                (rest * 2).min(FOLLOWED_REST)
            } else {
                (rest * 2).min(LONGEST_REST)
            };
            sleep(rest).await;
        }
    }

    /// Tells what there is, and says whether there was anything.
    fn tell_once(&mut self) -> Result<bool, Error> {
        let told = self.verdicts.take(AT_ONCE);
        if told.is_empty() {
            return Ok(false);
        }
        let untold = self.tally.untold(&told, &self.verdicts.counted()?);
        for (verdict, more) in told.iter().zip(untold) {
            // A program of another version may know more reasons.
            if let Some(reason) = Reason::from_number(verdict.reason) {
                self.take(verdict, reason, more);
            }
        }
        Ok(true)
    }

    /// Looks for the requests of refused replies, from time to time.
    fn find_pairs(&self) {
        let now = monotonic_nanoseconds();
        let mut pairs = self.hub.pairs();
        if pairs.is_due(now) {
            pairs.look(&self.noted.unanswered(MOST_REQUESTS), now);
        }
    }

    fn take(&self, verdict: &events::Event, reason: Reason, more: u64) {
        if !reason.admits() && verdict.depth >= ADDRESSES {
            let kind = Kind {
                source: sender(verdict.source),
                reason,
                mode: Mode::from_number(verdict.mode),
            };
            self.hub.senders().count(kind, more + 1, verdict.time);
        }
        self.hub.pairs().take(verdict, reason);
        if self.hub.is_followed() {
            self.hub.tell(Event::of(verdict, reason, more));
        }
    }
}

/// Who is taken for one sender.
fn sender(source: [u8; 16]) -> IpNet {
    match IpAddr::from(source).to_canonical() {
        v4 @ IpAddr::V4(_) => v4.into(),
        v6 @ IpAddr::V6(_) => IpNet::new_assert(v6, V6_SENDER).trunc(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_an_ipv4_address_or_an_ipv6_network() {
        let mapped = "::ffff:192.0.2.1".parse::<std::net::Ipv6Addr>().unwrap();
        assert_eq!(sender(mapped.octets()).to_string(), "192.0.2.1/32");
        let v6 = "2001:db8::1:2:3:4".parse::<std::net::Ipv6Addr>().unwrap();
        assert_eq!(sender(v6.octets()).to_string(), "2001:db8::/64");
    }
}
