//! What one packet costs: `BPF_PROG_TEST_RUN`, the programs and packets in turns.

use std::net::IpAddr;

use anyhow::{Result, anyhow, ensure};
use aya::programs::Xdp;
use ntpguard::{
    allowlist::projection::Projection,
    datapath::{Settings, Tracking, Trial},
};
use ntpguard_common::tables::{Grant, Origin, Role};
use serde::Serialize;

use crate::{
    filter::xdp_filter::XdpFilter,
    measure::{self, Series},
    options::Scale,
    packets::{self, Case},
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
    let mut strict = loaded(Tracking::default(), &listed)?;
    let mut untracked = loaded(Tracking::OFF, &listed)?;
    let filter = XdpFilter::apart(&listed)?;
    let subjects = Subjects {
        floor: floor.xdp()?,
        strict: strict.program()?,
        untracked: untracked.program()?,
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

fn loaded(tracking: Tracking, listed: &[IpAddr]) -> Result<Trial> {
    let mut trial = Trial::new(Settings {
        tracking,
        ..Settings::default()
    })?;
    trial
        .tables()
        .apply(&Projection::default(), &granted(listed))
        .map_err(|error| anyhow!("fill the tables: {error}"))?;
    Ok(trial)
}

/// What packets are sent through.
struct Subjects<'a> {
    floor: &'a Xdp,
    strict: &'a Xdp,
    untracked: &'a Xdp,
    filter: &'a Xdp,
}

impl Subjects<'_> {
    /// Those that are compared by a case.
    fn of(&self, case: &Case) -> [&Xdp; 3] {
        let guard = if case.tracked {
            self.strict
        } else {
            self.untracked
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
    for _ in 0..scale.rounds {
        for (case, measured) in cases.iter().zip(&mut measured) {
            let places = measured.figures.iter_mut().zip(&mut measured.actions);
            for (program, (figures, answer)) in subjects.of(case).into_iter().zip(places) {
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
    Grant {
        roles: Role::Server.bit(),
        origins: Origin::Config.bit(),
        ..Grant::default()
    }
}

/// Tables in which these addresses are servers.
pub(crate) fn granted(addresses: &[IpAddr]) -> Projection {
    Projection {
        addresses: addresses
            .iter()
            .map(|address| (*address, server()))
            .collect(),
        ..Projection::default()
    }
}
