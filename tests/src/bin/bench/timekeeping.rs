//! Whether a guard disturbs what it protects: a client's precision with and without one.

use std::thread;

use anyhow::Result;
use serde::Serialize;

use crate::{
    client::{Quality, SAMPLES_TIME},
    filter::Kind,
    measure::Series,
    network::Network,
    options::Scale,
    per_packet::LISTED,
};

/// With what a client is observed.
const KINDS: [Kind; 4] = [
    Kind::Nothing,
    Kind::Passing,
    Kind::NtpguardNative,
    Kind::NtpguardGeneric,
];

/// How a client fares behind a filter, microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Which filter.
    pub(crate) filter: Kind,
    /// The error of its clock, either way.
    pub(crate) offset: Series,
    /// The deviation of its samples.
    pub(crate) jitter: Series,
    /// There and back.
    pub(crate) delay: Series,
    /// Requests without a reply.
    pub(crate) lost: u64,
}

/// Lets a client keep time behind each of them in turns, as long as its memory of samples lasts.
pub(crate) fn measure(scale: &Scale) -> Result<Vec<Row>> {
    let network = Network::new(LISTED)?;
    let mut seen: [Vec<Quality>; KINDS.len()] = Default::default();
    let mut lost = [0; KINDS.len()];
    for round in 0..scale.client_rounds {
        eprintln!(
            "timekeeping: round {} of {}",
            round + 1,
            scale.client_rounds
        );
        for (kind, (seen, lost)) in KINDS.iter().zip(seen.iter_mut().zip(&mut lost)) {
            let _standing = kind.stand(&network.inside, &network.listed, &network.source)?;
            network.client.wait_reply()?;
            let before = network.client.settled()?;
            thread::sleep(SAMPLES_TIME);
            *lost += network.client.settled()?.since(before).lost();
            seen.push(network.client.quality()?);
        }
    }
    let rows = KINDS.iter().zip(seen.iter().zip(lost));
    rows.map(|(kind, (seen, lost))| row(*kind, seen, lost))
        .collect()
}

fn row(filter: Kind, seen: &[Quality], lost: u64) -> Result<Row> {
    let series =
        |figure: fn(&Quality) -> f64| Series::of(&seen.iter().map(figure).collect::<Vec<_>>());
    Ok(Row {
        filter,
        offset: series(|quality| quality.offset.abs())?,
        jitter: series(|quality| quality.jitter)?,
        delay: series(|quality| quality.delay)?,
        lost,
    })
}
