//! What a packet costs that leaves and is no request.

use anyhow::Result;
use ntpguard::datapath::{Hook, Settings, Trial};
use serde::Serialize;

use crate::{
    measure::{self, Series},
    options::Scale,
    packets,
    programs::Program,
};

/// What `TC_ACT_UNSPEC` is: the packet goes on.
const NEXT: u32 = u32::MAX;

/// What one packet costs, nanoseconds above a program that does nothing.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Which packet.
    pub(crate) what: &'static str,
    /// The least of the rounds.
    pub(crate) least: f64,
    /// The median of the rounds.
    pub(crate) median: f64,
}

/// Measures those that nearly every packet is one of.
pub(crate) fn measure(scale: &Scale) -> Result<Vec<Row>> {
    let [v4, v6] = packets::listed(0);
    let frames = [
        ("TCP over IPv4", packets::tcp(v4, &[])?),
        ("TCP over IPv6", packets::tcp(v6, &[])?),
        ("UDP over IPv4, other port", packets::other_port(v4)?),
        ("UDP over IPv6, other port", packets::other_port(v6)?),
    ];
    let mut trial = Trial::new(Settings::default())?;
    let guard = trial.tc_program(Hook::Egress)?;
    let floor = Program::pass_out()?;
    let floor = floor.classifier()?;
    let mut rows = Vec::new();
    for (what, frame) in frames {
        let [mut ours, mut least] = [const { Vec::new() }; 2];
        for _ in 0..scale.rounds {
            let [guarded, bare] = measure::undisturbed(|| {
                let (answer, guarded) = measure::run(guard, &frame, scale.repeat)?;
                anyhow::ensure!(answer == NEXT, "the guard answers {what} with {answer}");
                let (_, bare) = measure::run(floor, &frame, scale.repeat)?;
                Ok([guarded, bare])
            })?;
            ours.push(guarded);
            least.push(bare);
        }
        let (ours, floor) = (Series::of(&ours)?, Series::of(&least)?);
        rows.push(Row {
            what,
            least: ours.min - floor.min,
            median: ours.median - floor.median,
        });
    }
    Ok(rows)
}
