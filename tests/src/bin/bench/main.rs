//! What the guard costs, side by side with what people use instead. `cargo xtask bench` prepares
//! and runs this; it needs root.
//!
//! Each part is a module that gives rows of figures; `tables` and `plots` show them. Another packet
//! to be measured is a line in `packets`, another filter a variant of `filter::Kind`.

mod client;
mod daemon;
mod document;
mod exchange;
mod filter;
mod flood;
mod leaving;
mod machine;
mod measure;
mod network;
mod options;
mod packets;
mod per_packet;
mod plots;
mod scale;
mod tables;
mod timekeeping;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use ntpguard_tests::{
    programs,
    sizes::{self, Sizes},
};
use serde::Serialize;

use crate::{
    machine::Machine,
    options::{Options, Part},
};

/// How long anything may take that should take no time.
const SOON: Duration = Duration::from_secs(20);

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// The number of this layout.
    pub(crate) schema: u32,
    /// Where.
    pub(crate) machine: Machine,
    /// What one packet costs.
    pub(crate) packets: Option<Vec<per_packet::Row>>,
    /// What a request and its reply cost.
    pub(crate) exchanges: Option<Vec<exchange::Row>>,
    /// What a packet costs that leaves and is no request.
    pub(crate) leaving: Option<Vec<leaving::Row>>,
    /// What a flood does.
    pub(crate) flood: Option<Vec<flood::Row>>,
    /// What large tables cost.
    pub(crate) scale: Option<Vec<scale::Row>>,
    /// What the daemon needs.
    pub(crate) daemon: Option<daemon::Figures>,
    /// What becomes of a client's precision.
    pub(crate) timekeeping: Option<Vec<timekeeping::Row>>,
    /// How large the programs are.
    pub(crate) sizes: Option<Sizes>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    machine::require_peers()?;
    let machine = Machine::look()?;
    measure::stay_away()?;
    let results = measure_all(&options, machine)?;
    for table in tables::all(&results) {
        println!("\n{}\n\n{}", table.title, table.markdown());
    }
    if options.record {
        let sizes = results
            .sizes
            .as_ref()
            .context("--record needs the part `sizes`")?;
        sizes::record(sizes)?;
    }
    let file = options.output.join("results.json");
    fs::create_dir_all(&options.output)
        .and_then(|()| fs::write(&file, serde_json::to_string_pretty(&results)?))
        .with_context(|| format!("cannot write {}", file.display()))?;
    plots::all(&results, &options.output)?;
    if options.docs {
        document::update(Path::new("docs/performance.md"), &results)?;
    }
    println!("\nall figures: {}", file.display());
    Ok(())
}

fn measure_all(options: &Options, machine: Machine) -> Result<Results> {
    let scale = &options.scale();
    let mut results = Results {
        schema: 1,
        machine,
        packets: None,
        exchanges: None,
        leaving: None,
        flood: None,
        scale: None,
        daemon: None,
        timekeeping: None,
        sizes: None,
    };
    for part in options.parts() {
        match part {
            Part::Sizes => results.sizes = Some(sizes::measure()?),
            Part::Packets => results.packets = Some(per_packet::measure(scale)?),
            Part::Exchanges => {
                results.exchanges = Some(exchange::measure(scale)?);
                results.leaving = Some(leaving::measure(scale)?);
            }
            Part::Scale => results.scale = Some(scale::measure(scale)?),
            Part::Daemon => results.daemon = Some(daemon::measure(scale)?),
            Part::Timekeeping => results.timekeeping = Some(timekeeping::measure(scale)?),
            Part::Flood => results.flood = Some(flood::measure(scale)?),
        }
    }
    Ok(results)
}
