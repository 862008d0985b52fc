//! What a request that leaves and the reply that is let in for it cost together.
//!
//! One `BPF_PROG_TEST_RUN` sends as many requests as fit, each with another token, and a second one
//! brings the replies. Afterwards the tables are as before.

use std::net::IpAddr;

use anyhow::{Context as _, Result, anyhow, ensure};
use ntpguard::{
    allowlist::projection::Projection,
    datapath::{Hook, Settings, Trial},
};
use ntpguard_common::maps::tables::REQUESTS_SIZE;
use ntpguard_tests::fixtures;
use serde::Serialize;

use crate::{
    measure::{self, Series},
    options::Scale,
    packets::{self, XDP_PASS},
    per_packet::granted,
    programs::{Bare, Program},
};

/// Requests in a round. All of the table would do, if the kernel did not keep some of an LRU map's
/// entries aside for each CPU.
const REQUESTS: u32 = REQUESTS_SIZE / 4;

/// What requests of one kind and their replies cost, nanoseconds above the floor.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Which.
    pub(crate) what: &'static str,
    /// A request.
    pub(crate) request: f64,
    /// Its reply.
    pub(crate) reply: f64,
    /// Both, in the median of the rounds.
    pub(crate) median: f64,
}

impl Row {
    /// Both.
    pub(crate) fn together(&self) -> f64 {
        self.request + self.reply
    }
}

/// Measures requests to listed servers, of trusted senders and of others, and what the kernel's own
/// table takes of that.
pub(crate) fn measure(scale: &Scale) -> Result<Vec<Row>> {
    let [v4, v6] = packets::listed(0);
    let kinds = [
        ("any sender, IPv4", v4, false),
        ("any sender, IPv6", v6, false),
        ("trusted sender, IPv4", v4, true),
        ("trusted sender, IPv6", v6, true),
    ];
    let mut rows = Vec::new();
    for (what, server) in BARE.into_iter().zip([v4, v6]) {
        rows.push(bare(what, server, scale).context(what)?);
    }
    for (what, server, trusted) in kinds {
        rows.push(guarded(what, server, trusted, scale).context(what)?);
    }
    Ok(rows)
}

/// The rows without a guard.
pub(crate) const BARE: [&str; 2] = [
    "the kernel's LRU map alone, IPv4",
    "the kernel's LRU map alone, IPv6",
];

fn bare(what: &'static str, server: IpAddr, scale: &Scale) -> Result<Row> {
    let [place, _] = packets::token_places(server);
    let bare = Bare::new(server, place)?;
    let programs = [
        Program::number_out(place, bare.insert()?)?,
        Program::number(place, bare.take()?)?,
    ];
    let frame = packets::request(server)?;
    Exchange::new([place; 2], [frame.clone(), frame], programs)?.measure(what, scale)
}

fn guarded(what: &'static str, server: IpAddr, trusted: bool, scale: &Scale) -> Result<Row> {
    let mut trial = Trial::new(Settings::default())?;
    let tables = trial.tables();
    tables
        .apply(&Projection::default(), &granted(&[server]))
        .map_err(|error| anyhow!("fill the tables: {error}"))?;
    if trusted {
        tables.set_trusted_cgroups(&fixtures::every_cgroup())?;
    }
    let places = packets::token_places(server);
    let programs = [
        Program::number_out(places[0], trial.tc_program(Hook::Egress)?)?,
        Program::number(places[1], trial.program()?)?,
    ];
    let frames = [packets::request(server)?, packets::reply(server, &[])?];
    Exchange::new(places, frames, programs)?.measure(what, scale)
}

/// The programs, each behind one that gives tokens.
struct Exchange {
    request: Vec<u8>,
    reply: Vec<u8>,
    guard: [Program; 2],
    floor: [Program; 2],
}

impl Exchange {
    /// Of programs for what leaves and what arrives, with frames for them that have their tokens at
    /// these places.
    fn new(
        [out, back]: [u32; 2],
        [request, reply]: [Vec<u8>; 2],
        guard: [Program; 2],
    ) -> Result<Self> {
        let pass = [Program::pass_out()?, Program::pass()?];
        Ok(Self {
            request,
            reply,
            guard,
            floor: [
                Program::number_out(out, pass[0].classifier()?)?,
                Program::number(back, pass[1].xdp()?)?,
            ],
        })
    }

    fn measure(&mut self, what: &'static str, scale: &Scale) -> Result<Row> {
        let mut figures = [const { Vec::new() }; 4];
        for _ in 0..scale.rounds {
            for (figures, figure) in figures
                .iter_mut()
                .zip(measure::undisturbed(|| self.round())?)
            {
                figures.push(figure);
            }
        }
        let [request, reply, request_floor, reply_floor] = figures;
        let above = |guard: &[f64], floor: &[f64]| -> Result<[f64; 2]> {
            let (guard, floor) = (Series::of(guard)?, Series::of(floor)?);
            Ok([guard.min - floor.min, guard.median - floor.median])
        };
        let [request, request_median] = above(&request, &request_floor)?;
        let [reply, reply_median] = above(&reply, &reply_floor)?;
        Ok(Row {
            what,
            request,
            reply,
            median: request_median + reply_median,
        })
    }

    /// The nanoseconds of requests and replies through the guard, and of both without.
    fn round(&mut self) -> Result<[f64; 4]> {
        let [guard_out, guard] = &mut self.guard;
        let [floor_out, floor] = &mut self.floor;
        // The same tokens again for the replies, and for the next round.
        guard_out.restart()?;
        guard.restart()?;
        let (_, request) = measure::run(guard_out.classifier()?, &self.request, REQUESTS)?;
        let (answer, reply) = measure::run(guard.xdp()?, &self.reply, REQUESTS)?;
        ensure!(
            answer == XDP_PASS,
            "the guard answers the last reply {answer}, not {XDP_PASS}"
        );
        let (_, request_floor) = measure::run(floor_out.classifier()?, &self.request, REQUESTS)?;
        let (_, reply_floor) = measure::run(floor.xdp()?, &self.reply, REQUESTS)?;
        Ok([request, reply, request_floor, reply_floor])
    }
}
