//! What one packet costs: `BPF_PROG_TEST_RUN`, the programs and packets in turns.

use std::net::IpAddr;

use anyhow::{Result, anyhow, ensure};
use aya::programs::Xdp;
use ipnet::IpNet;
use ntpguard::{
    allowlist::projection::Projection,
    datapath::{Settings, Tracking, Trial},
};
use ntpguard_common::maps::{
    rates::Rates,
    tables::{Grant, Origin, Role},
};
use serde::Serialize;

use crate::{
    filter::xdp_filter::XdpFilter,
    measure::{self, Series},
    options::Scale,
    packets::{self, Case, Guard},
    programs::Program,
};

/// Addresses listed in each family.
pub(crate) const LISTED: u32 = 16;

/// A packet's cost, in nanoseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Which packet.
    pub(crate) packet: &'static str,
    /// Through a program that only passes.
    pub(crate) floor: Series,
    /// Through the guard.
    pub(crate) ntpguard: Series,
    /// Through xdp-filter with its dispatcher, as it is installed.
    pub(crate) xdp_filter: Series,
    /// Whether xdp-filter passed it.
    pub(crate) xdp_filter_passes: bool,
    /// The guard's aim above the floor.
    pub(crate) aim: Option<f64>,
}

impl Row {
    /// What the guard adds to the floor, both at their best.
    pub(crate) fn above_floor(&self) -> f64 {
        self.ntpguard.min - self.floor.min
    }

    /// The same of xdp-filter.
    pub(crate) fn xdp_filter_above_floor(&self) -> f64 {
        self.xdp_filter.min - self.floor.min
    }

    /// Whether the aim is met, where there is one.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.aim.map(|aim| self.above_floor() <= aim)
    }
}

/// Measures them all.
pub(crate) fn measure(scale: &Scale) -> Result<Vec<Row>> {
    let floor = Program::pass()?;
    let listed: Vec<_> = (0..LISTED).flat_map(packets::listed).collect();
    let servers = granted(&listed);
    let clients = clients(&listed);
    let off = Rates::OFF;
    let mut strict = loaded(Tracking::default(), off, &servers)?;
    let mut untracked = loaded(Tracking::OFF, off, &servers)?;
    let mut serving = loaded(Tracking::default(), BEYOND, &clients)?;
    let mut unlimited = loaded(Tracking::default(), off, &clients)?;
    let mut by_prefix = loaded(Tracking::default(), BEYOND, &client_prefixes()?)?;
    let filter = XdpFilter::apart(&listed)?;
    let subjects = Subjects {
        floor: floor.xdp()?,
        strict: strict.program()?,
        untracked: untracked.program()?,
        serving: serving.program()?,
        unlimited: unlimited.program()?,
        by_prefix: by_prefix.program()?,
        filter: filter.program(),
    };
    let cases = packets::cases()?;
    let measured = measure::undisturbed(|| take_turns(&subjects, &cases, scale))?;
    cases
        .iter()
        .zip(&measured)
        .map(|(case, measured)| row(case, measured))
        .collect()
}

/// Limits that no test run reaches: a packet comes every 100 ns or so.
const BEYOND: Rates = Rates::per_second(100_000_000, 100_000_000, [1, 2]);

fn loaded(tracking: Tracking, rates: Rates, tables: &Projection) -> Result<Trial> {
    let mut trial = Trial::new(Settings {
        tracking,
        rates,
        ..Settings::default()
    })?;
    trial
        .tables()
        .apply(&Projection::default(), tables)
        .map_err(|error| anyhow!("fill the tables: {error}"))?;
    Ok(trial)
}

/// What packets are sent through.
struct Subjects<'a> {
    floor: &'a Xdp,
    strict: &'a Xdp,
    untracked: &'a Xdp,
    serving: &'a Xdp,
    unlimited: &'a Xdp,
    by_prefix: &'a Xdp,
    filter: &'a Xdp,
}

impl Subjects<'_> {
    /// Those that are compared by a case.
    fn of(&self, case: &Case) -> [&Xdp; 3] {
        let guard = match case.guard {
            Guard::Strict => self.strict,
            Guard::Untracked => self.untracked,
            Guard::Serving => self.serving,
            Guard::ServingUnlimited => self.unlimited,
            Guard::ServingPrefix => self.by_prefix,
        };
        [self.floor, guard, self.filter]
    }
}

/// What one packet cost each of the programs, round by round, and their answers.
#[derive(Clone, Default)]
struct Measured {
    figures: [Vec<f64>; 3],
    actions: [u32; 3],
}

fn take_turns(subjects: &Subjects<'_>, cases: &[Case], scale: &Scale) -> Result<Vec<Measured>> {
    let mut measured = vec![Measured::default(); cases.len()];
    for round in 0..scale.rounds {
        for (case, measured) in cases.iter().zip(&mut measured) {
            let places = measured.figures.iter_mut().zip(&mut measured.actions);
            let mut turns: Vec<_> = subjects.of(case).into_iter().zip(places).collect();
            // Whoever comes after the floor takes up to 3 ns longer than in another place.
            turns.rotate_left(round % 3);
            if round % 2 == 1 {
                turns.reverse();
            }
            for (program, (figures, answer)) in turns {
                let (action, nanoseconds) = measure::run(program, &case.frame, scale.repeat)?;
                *answer = action;
                figures.push(nanoseconds);
            }
        }
    }
    Ok(measured)
}

fn row(case: &Case, measured: &Measured) -> Result<Row> {
    let [_, guard, filter] = measured.actions;
    ensure!(
        guard == case.action,
        "the guard answers {}: {guard}, not {}",
        case.name,
        case.action
    );
    let [floor, ntpguard, xdp_filter] = &measured.figures;
    Ok(Row {
        packet: case.name,
        floor: Series::of(floor)?,
        ntpguard: Series::of(ntpguard)?,
        xdp_filter: Series::of(xdp_filter)?,
        xdp_filter_passes: filter == packets::XDP_PASS,
        aim: case.aim,
    })
}

/// A grant for servers, as a configuration file gives it.
pub(crate) fn server() -> Grant {
    grant(Role::Server)
}

fn grant(role: Role) -> Grant {
    Grant {
        roles: role.bit(),
        origins: Origin::Config.bit(),
        ..Grant::default()
    }
}

/// Tables in which these addresses are servers.
pub(crate) fn granted(addresses: &[IpAddr]) -> Projection {
    all(addresses, server())
}

/// Tables in which these addresses are clients.
fn clients(addresses: &[IpAddr]) -> Projection {
    all(addresses, grant(Role::Client))
}

fn all(addresses: &[IpAddr], grant: Grant) -> Projection {
    Projection {
        addresses: addresses.iter().map(|address| (*address, grant)).collect(),
        ..Projection::default()
    }
}

/// Tables in which the networks of the listed addresses are clients.
fn client_prefixes() -> Result<Projection> {
    let networks = packets::listed(0).map(|address| {
        let length = if address.is_ipv4() { 24 } else { 64 };
        Ok((IpNet::new(address, length)?.trunc(), grant(Role::Client)))
    });
    Ok(Projection {
        prefixes: networks.into_iter().collect::<Result<_>>()?,
        ..Projection::default()
    })
}
