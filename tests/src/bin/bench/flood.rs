//! A flood of replies that nobody asked for, from a million forged addresses: how much of it each
//! filter takes, and what becomes of a legitimate client meanwhile.
//!
//! The frames are sent, received and judged on one CPU, so that the rate says what CPU time all of
//! that takes. The client and its server have the others.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::wire::ntp;
use ntpguard_tests::{
    link::Port,
    packets::{
        frame::{self, Ethernet},
        ntp::Message,
    },
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    client::Quality,
    filter::Kind,
    measure::{self, Series},
    network::{self, Network},
    options::Scale,
    per_packet::LISTED,
    programs::{Program, Sources},
};

/// 100.64.0.0/10 is nobody's (RFC 6598).
const FORGED: Sources = Sources {
    first: IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)),
    count: 1 << 20,
};

/// Frames between two looks at the clock: many, as the kernel waits for others at each start.
const PORTION: u32 = 1 << 20;

/// Where UDP's checksum is in an IPv4 frame.
const UDP_CHECKSUM_AT: usize = 14 + 20 + 6;

/// What one filter did, over all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Which.
    pub(crate) filter: Kind,
    /// Packets a second that arrived and were dealt with, by one CPU.
    pub(crate) rate: Series,
    /// Packets a second that were sent and found the receiver's ring full.
    pub(crate) overflowed: Series,
    /// What the legitimate client saw; the ceiling lets it see nothing.
    pub(crate) client: Option<Seen>,
}

/// What the client saw while the flood went on.
#[derive(Debug, Serialize)]
pub(crate) struct Seen {
    /// Requests, in all rounds together.
    pub(crate) requests: u64,
    /// Those without a reply.
    pub(crate) lost: u64,
    /// The error of its clock, microseconds either way.
    pub(crate) offset: Series,
    /// The deviation of its samples, microseconds.
    pub(crate) jitter: Series,
}

/// One filter's figures, round by round.
#[derive(Default)]
struct Figures {
    rate: Vec<f64>,
    overflowed: Vec<f64>,
    requests: u64,
    lost: u64,
    offset: Vec<f64>,
    jitter: Vec<f64>,
}

/// Floods each filter, one after the other, several times.
pub(crate) fn measure(scale: &Scale) -> Result<Vec<Row>> {
    let network = Network::new(LISTED)?;
    let mut figures: Vec<Figures> = Kind::FLOODED.iter().map(|_| Figures::default()).collect();
    for round in 0..scale.flood_rounds {
        eprintln!("flood: round {} of {}", round + 1, scale.flood_rounds);
        for (kind, figures) in Kind::FLOODED.into_iter().zip(&mut figures) {
            one(&network, kind, scale.flood_time, figures)
                .with_context(|| format!("under {}", kind.name()))?;
        }
    }
    Kind::FLOODED
        .into_iter()
        .zip(&figures)
        .map(|(kind, figures)| row(kind, figures))
        .collect()
}

fn row(filter: Kind, figures: &Figures) -> Result<Row> {
    let seen = || -> Result<Seen> {
        Ok(Seen {
            requests: figures.requests,
            lost: figures.lost,
            offset: Series::of(&figures.offset)?,
            jitter: Series::of(&figures.jitter)?,
        })
    };
    Ok(Row {
        filter,
        rate: Series::of(&figures.rate)?,
        overflowed: Series::of(&figures.overflowed)?,
        client: filter.admits().then(seen).transpose()?,
    })
}

/// One filter, one round.
fn one(network: &Network, kind: Kind, time: Duration, figures: &mut Figures) -> Result<()> {
    let standing = kind.stand(&network.inside, &network.listed, &network.source)?;
    if kind.admits() {
        network.client.wait_reply()?;
    }
    let before = network.client.settled()?;
    let flooded = flood(network, time)?;
    if kind.admits() {
        let passed = network.client.settled()?.since(before);
        let Quality { offset, jitter, .. } = network.client.quality()?;
        figures.requests += passed.requests;
        figures.lost += passed.lost();
        figures.offset.push(offset.abs());
        figures.jitter.push(jitter);
    }
    drop(standing);
    figures.rate.push(flooded.a_second(flooded.arrived));
    let overflowed = flooded.sent.saturating_sub(flooded.arrived);
    figures.overflowed.push(flooded.a_second(overflowed));
    Ok(())
}

/// What a flood was.
struct Flooded {
    sent: u64,
    arrived: u64,
    took: Duration,
}

impl Flooded {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn a_second(&self, packets: u64) -> f64 {
        packets as f64 / self.took.as_secs_f64()
    }
}

fn flood(network: &Network, time: Duration) -> Result<Flooded> {
    let frame = forged(network)?;
    let program = Program::transmit(FORGED)?;
    let received = received(&network.inside)?;
    let (sent, took) = network.outside.namespace.enter(|| {
        measure::alone_on(measure::cpu())?;
        let (mut sent, mut took) = (0, Duration::ZERO);
        while took < time {
            took += program.send(network.outside.index, &frame, PORTION)?;
            sent += u64::from(PORTION);
        }
        Ok((sent, took))
    })?;
    let arrived = self::received(&network.inside)? - received;
    ensure!(arrived > 0, "no frame of the flood arrived");
    Ok(Flooded {
        sent,
        arrived,
        took,
    })
}

/// A server's reply to the guarded host. Over IPv4 UDP needs no checksum (RFC 768), which spares
/// the sender mending it.
fn forged(network: &Network) -> Result<Vec<u8>> {
    let from = SocketAddr::new(FORGED.first, ntp::PORT);
    let to = SocketAddr::new(network::inside_address()?, ntp::PORT);
    let packet = frame::udp(from, to, &Message::new(4, 4).to_vec())?;
    let ethernet = Ethernet {
        from: network.outside.mac,
        to: network.inside.mac,
        tags: &[],
    };
    let mut frame = ethernet.wrap(&packet);
    frame
        .get_mut(UDP_CHECKSUM_AT..UDP_CHECKSUM_AT + 2)
        .context("a frame without UDP")?
        .fill(0);
    Ok(frame)
}

/// Packets that an interface took from its cable so far.
fn received(port: &Port) -> Result<u64> {
    let line = [
        "-json",
        "-statistics",
        "link",
        "show",
        "dev",
        &port.interface,
    ];
    let shown: Value = serde_json::from_str(&port.namespace.ip(&line)?)?;
    shown[0]["stats64"]["rx"]["packets"]
        .as_u64()
        .context("ip tells no statistics")
}
