//! One request and one reply at a time, of every kind that there is.

use std::{net::IpAddr, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    guard::Guard,
    lab::{Fate, Lab},
    packets::ntp::Message,
};
use serde_json::Value;

/// Servers that the guard's file names, and that nobody has.
const LISTED: [&str; 2] = ["198.51.100.1", "2001:db8:600d::1"];
/// A listed server that is never asked.
const UNASKED: &str = "198.51.100.2";
/// A symmetric peer.
const PEER: &str = "198.51.100.3";
/// How long a request is open in the test of that.
const OPEN: Duration = Duration::from_secs(2);

const DROPPED: bool = false;
const ARRIVED: bool = true;

/// A guarded host, with the parts of both sides in the test's hands.
struct Exchange {
    lab: Lab,
    guard: Guard,
}

impl Exchange {
    fn new(arguments: &[&str]) -> Result<Self> {
        let lab = Lab::new()?;
        let [v4, v6] = LISTED;
        let config = format!("server {v4}\nserver {v6}\nserver {UNASKED}\n");
        let source = lab.write("ntp.conf", &config)?;
        let guard = Guard::builder(&lab.inside.namespace)
            .interface(&lab.inside.port.interface)
            .source(&source)
            .args(arguments)
            .ready()?;
        guard.json(&["allowlist", "add", PEER, "--role", "peer", "--json"])?;
        Ok(Self { lab, guard })
    }

    fn ask(&self, server: &str, request: &Message) -> Result<()> {
        self.lab.send_out(server.parse()?, request)
    }

    /// A request with a transmit timestamp of its own, sent.
    fn asked(&self, server: &str) -> Result<Message> {
        let request = Message::request(self.lab.next_transmit());
        self.ask(server, &request)?;
        Ok(request)
    }

    fn fate(&self, server: &str, reply: &Message) -> Result<Fate> {
        let frame = self.lab.inbound(server.parse()?, reply)?;
        self.lab.fate_of(self.guard.home(), &frame)
    }

    /// What `status` says of a server.
    fn shown(&self, server: &str) -> Result<Value> {
        let status = self.guard.json(&["status", "--json"])?;
        let servers = status["servers"].as_array().cloned().unwrap_or_default();
        let shown = servers.into_iter().find(|shown| shown["address"] == server);
        shown.with_context(|| format!("nothing of {server}: {status}"))
    }

    fn expect(
        &self,
        what: &str,
        server: &str,
        reply: &Message,
        fate: (Reason, bool),
    ) -> Result<()> {
        let (reason, arrived) = fate;
        let fate = self.fate(server, reply)?;
        ensure!(
            fate == Fate { reason, arrived },
            "{what} of {server}: {fate:?}"
        );
        Ok(())
    }
}

#[test]
fn a_reply_passes_once_and_only_with_the_requests_own_origin() -> Result<()> {
    let exchange = Exchange::new(&[])?;
    for server in LISTED {
        let request = exchange.asked(server)?;
        let mut reply = Message::reply_to(&request);
        reply.origin ^= 1;
        exchange.expect("another origin", server, &reply, (Reason::Origin, DROPPED))?;
        reply.origin = 0;
        exchange.expect("no origin", server, &reply, (Reason::ZeroOrigin, DROPPED))?;
        let reply = Message::reply_to(&request);
        exchange.expect("the reply", server, &reply, (Reason::Server, ARRIVED))?;
        exchange.expect("a copy", server, &reply, (Reason::Origin, DROPPED))?;
    }
    Ok(())
}

#[test]
fn a_reply_that_nobody_asked_for_is_unsolicited() -> Result<()> {
    let exchange = Exchange::new(&[])?;
    let request = exchange.asked(LISTED[0])?;
    let reply = Message::reply_to(&request);
    let unsolicited = (Reason::Unsolicited, DROPPED);
    exchange.expect(
        "an answer to another's request",
        UNASKED,
        &reply,
        unsolicited,
    )?;
    exchange.expect("the reply", LISTED[0], &reply, (Reason::Server, ARRIVED))
}

#[test]
fn a_longer_reply_is_dropped_and_leaves_the_request_open() -> Result<()> {
    let exchange = Exchange::new(&[])?;
    for server in LISTED {
        let request = exchange.asked(server)?;
        for rest in [4, 20, 500] {
            let mut reply = Message::reply_to(&request);
            reply.rest = vec![0; rest];
            exchange.expect(
                "a longer reply",
                server,
                &reply,
                (Reason::Oversize, DROPPED),
            )?;
        }
        let reply = Message::reply_to(&request);
        exchange.expect("the reply", server, &reply, (Reason::Server, ARRIVED))?;
    }
    Ok(())
}

#[test]
fn a_reply_may_be_as_long_as_its_request_and_shorter() -> Result<()> {
    let exchange = Exchange::new(&[])?;
    for rest in [20, 0] {
        let mut request = Message::request(exchange.lab.next_transmit());
        request.rest = vec![0; 20];
        exchange.ask(LISTED[0], &request)?;
        let mut reply = Message::reply_to(&request);
        reply.rest = vec![0; rest];
        exchange.expect("the reply", LISTED[0], &reply, (Reason::Server, ARRIVED))?;
    }
    Ok(())
}

#[test]
fn a_kiss_of_death_that_answers_a_request_passes() -> Result<()> {
    let exchange = Exchange::new(&[])?;
    for code in [*b"RATE", *b"DENY", *b"INIT"] {
        let request = exchange.asked(LISTED[0])?;
        // As NTPsec sends it: every timestamp is the request's.
        let kiss = Message {
            leap: 3,
            stratum: 0,
            reference_id: code,
            receive: request.transmit,
            transmit: request.transmit,
            ..Message::reply_to(&request)
        };
        exchange.expect("a kiss", LISTED[0], &kiss, (Reason::Server, ARRIVED))?;
    }
    Ok(())
}

/// A reply that is admitted, with these timestamps of its server's.
fn answered(exchange: &Exchange, server: &str, receive: u64, transmit: u64) -> Result<()> {
    let request = exchange.asked(server)?;
    let reply = Message {
        receive,
        transmit,
        ..Message::reply_to(&request)
    };
    exchange.expect("the reply", server, &reply, (Reason::Server, ARRIVED))
}

#[test]
fn an_interleaved_reply_carries_the_requests_receive_timestamp() -> Result<()> {
    let exchange = Exchange::new(&[])?;
    let next = || exchange.lab.next_transmit();
    for server in LISTED {
        let (receive, transmit) = (next(), next());
        answered(&exchange, server, receive, transmit)?;
        let mut request = Message::request(next());
        request.receive = next();
        // A basic request with a receive timestamp: its origin says that it is not interleaved.
        let mut interleaved = Message::reply_to(&request);
        interleaved.origin = request.receive;
        for origin in [0, transmit, next()] {
            request.origin = origin;
            exchange.ask(server, &request)?;
            exchange.expect("basic", server, &interleaved, (Reason::Origin, DROPPED))?;
        }
        request.origin = receive;
        exchange.ask(server, &request)?;
        let admitted = (Reason::Server, ARRIVED);
        exchange.expect("interleaved", server, &interleaved, admitted)?;
        exchange.expect("a copy", server, &interleaved, (Reason::Origin, DROPPED))?;
    }
    Ok(())
}

/// The classic ntpd fills in every field of each request, and a forger knows all of them but one.
#[test]
fn the_classic_ntpds_receive_timestamp_is_worth_nothing_to_a_forger() -> Result<()> {
    let exchange = Exchange::new(&[])?;
    let next = || exchange.lab.next_transmit();
    for server in LISTED {
        let (mut receive, mut transmit) = (next(), next());
        answered(&exchange, server, receive, transmit)?;
        for _ in 0..20 {
            // Its peer_xmit(): the transmit timestamp of the last reply, when that came, and now.
            let request = Message {
                origin: transmit,
                receive: next(),
                ..Message::request(next())
            };
            exchange.ask(server, &request)?;
            let mut forged = Message::reply_to(&request);
            for known in [request.receive, request.origin, receive] {
                forged.origin = known;
                exchange.expect("forged", server, &forged, (Reason::Origin, DROPPED))?;
            }
            (receive, transmit) = (next(), next());
            let reply = Message {
                receive,
                transmit,
                ..Message::reply_to(&request)
            };
            exchange.expect("the reply", server, &reply, (Reason::Server, ARRIVED))?;
        }
    }
    Ok(())
}

#[test]
fn a_forger_who_knows_an_interleaved_requests_receive_timestamp_costs_no_reply() -> Result<()> {
    let exchange = Exchange::new(&[])?;
    let next = || exchange.lab.next_transmit();
    for server in LISTED {
        let receive = next();
        answered(&exchange, server, receive, next())?;
        let request = Message {
            origin: receive,
            receive: next(),
            ..Message::request(next())
        };
        exchange.ask(server, &request)?;
        let mut forged = Message::reply_to(&request);
        forged.origin = request.receive;
        exchange.expect("forged", server, &forged, (Reason::Server, ARRIVED))?;
        let reply = Message::reply_to(&request);
        exchange.expect("the reply", server, &reply, (Reason::Server, ARRIVED))?;
    }
    Ok(())
}

#[test]
fn a_request_without_a_timestamp_may_be_answered_unless_refused() -> Result<()> {
    for (refusing, expected) in [
        (&[][..], (Reason::Server, ARRIVED)),
        (
            &["--zero-transmit", "refuse"],
            (Reason::ZeroOrigin, DROPPED),
        ),
    ] {
        let exchange = Exchange::new(refusing)?;
        let request = Message::request(0);
        exchange.ask(LISTED[0], &request)?;
        let reply = Message::reply_to(&request);
        exchange.expect("the reply", LISTED[0], &reply, expected)?;
        let again = (Reason::ZeroOrigin, DROPPED);
        exchange.expect("a copy", LISTED[0], &reply, again)?;
    }
    Ok(())
}

#[test]
fn a_reply_after_the_window_is_late_and_a_guess_is_unsolicited() -> Result<()> {
    let seconds = OPEN.as_secs().to_string();
    let exchange = Exchange::new(&["--reply-window", &seconds])?;
    let (early, late) = (exchange.asked(LISTED[0])?, exchange.asked(LISTED[0])?);
    let reply = Message::reply_to(&early);
    exchange.expect("in time", LISTED[0], &reply, (Reason::Server, ARRIVED))?;
    thread::sleep(OPEN + Duration::from_millis(100));
    let mut reply = Message::reply_to(&late);
    exchange.expect("too late", LISTED[0], &reply, (Reason::Late, DROPPED))?;
    reply.origin ^= 1;
    let unsolicited = (Reason::Unsolicited, DROPPED);
    exchange.expect("a guess", LISTED[0], &reply, unsolicited)
}

#[test]
fn old_and_new_versions_are_answered_by_their_own_token() -> Result<()> {
    let exchange = Exchange::new(&[])?;
    for version in 1..=4 {
        let mut request = Message::request(exchange.lab.next_transmit());
        request.version = version;
        exchange.ask(LISTED[0], &request)?;
        let reply = Message::reply_to(&request);
        exchange.expect("the reply", LISTED[0], &reply, (Reason::Server, ARRIVED))?;
    }
    // draft-ietf-ntp-ntpv5: the client's cookie stands, and comes back, where v4 has its origin.
    let mut request = Message::request(0);
    request.version = 5;
    request.origin = exchange.lab.next_transmit();
    exchange.ask(LISTED[0], &request)?;
    let mut reply = Message::reply_to(&request);
    reply.origin = request.origin ^ 1;
    exchange.expect(
        "another cookie",
        LISTED[0],
        &reply,
        (Reason::Origin, DROPPED),
    )?;
    reply.origin = request.origin;
    exchange.expect("the reply", LISTED[0], &reply, (Reason::Server, ARRIVED))
}

#[test]
fn a_peer_answers_in_symmetric_mode_once_it_was_asked_and_that_counts_as_a_reply() -> Result<()> {
    let exchange = Exchange::new(&[])?;
    let passive = Message::new(4, 2);
    exchange.expect("too early", PEER, &passive, (Reason::Unsolicited, DROPPED))?;
    let active = Message::new(4, 1);
    exchange.expect("its own", PEER, &active, (Reason::Peer, ARRIVED))?;
    let shown = exchange.shown(PEER)?;
    ensure!(shown["replies"] == 0, "{shown}");
    ensure!(shown["refused"][0]["reason"] == "unsolicited", "{shown}");
    exchange.ask(PEER, &active)?;
    exchange.expect("its answer", PEER, &passive, (Reason::Peer, ARRIVED))?;
    let shown = exchange.shown(PEER)?;
    ensure!(shown["replies"] == 1 && shown["stratum"] == 2, "{shown}");
    Ok(())
}

#[test]
fn without_tracking_a_listed_server_needs_no_request_and_another_does_not_pass() -> Result<()> {
    let exchange = Exchange::new(&["--track", "off"])?;
    let reply = Message::new(4, 4);
    for server in LISTED {
        let server: IpAddr = server.parse()?;
        let admitted = (Reason::Server, ARRIVED);
        exchange.expect("a reply", &server.to_string(), &reply, admitted)?;
    }
    exchange.expect(
        "a reply",
        "203.0.113.9",
        &reply,
        (Reason::Unlisted, DROPPED),
    )
}
