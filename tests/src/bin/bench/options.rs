//! What is to be measured, and how thoroughly.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

/// Measure what the guard costs, side by side with what people use instead. Needs root.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
pub(crate) struct Options {
    /// Measure less thoroughly, in under two minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measure these parts only
    #[arg(value_enum, value_name = "PART")]
    parts: Vec<Part>,
    /// Where results.json and the plots go
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) output: PathBuf,
    /// Keep the sizes of the programs as those that the tests compare with
    #[arg(long)]
    pub(crate) record: bool,
    /// Put tables and plots into docs/performance.md as well
    #[arg(long)]
    pub(crate) docs: bool,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// What one packet costs
    Packets,
    /// What a request and its reply cost
    Exchanges,
    /// What a flood does
    Flood,
    /// What large tables cost
    Scale,
    /// What the daemon needs: to start, to idle, to act on DNS
    Daemon,
    /// What becomes of a client's precision
    Timekeeping,
    /// How many instructions the programs are
    Sizes,
}

impl Options {
    /// The parts to be measured: those asked for, or all.
    pub(crate) fn parts(&self) -> &[Part] {
        if self.parts.is_empty() {
            Part::value_variants()
        } else {
            &self.parts
        }
    }

    /// How thoroughly.
    pub(crate) const fn scale(&self) -> Scale {
        if self.quick {
            Scale::QUICK
        } else {
            Scale::FULL
        }
    }
}

/// How thoroughly things are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Rounds of what takes turns in one process.
    pub(crate) rounds: usize,
    /// Runs of a program in a round.
    pub(crate) repeat: u32,
    /// Rounds in which each filter is flooded.
    pub(crate) flood_rounds: usize,
    /// How much CPU time each flood has.
    pub(crate) flood_time: Duration,
    /// Entries of the tables.
    pub(crate) sizes: &'static [u32],
    /// Rounds over all the sizes.
    pub(crate) size_rounds: usize,
    /// Starts of the daemon, and answers of DNS.
    pub(crate) starts: usize,
    /// How long the daemon is watched doing nothing.
    pub(crate) idle: Duration,
    /// Rounds with and without a guard before a client.
    pub(crate) client_rounds: usize,
}

impl Scale {
    const QUICK: Self = Self {
        rounds: 9,
        repeat: 100_000,
        flood_rounds: 2,
        flood_time: Duration::from_millis(500),
        sizes: &[1, 1_000, 100_000],
        size_rounds: 3,
        starts: 3,
        idle: Duration::from_secs(2),
        client_rounds: 1,
    };
    const FULL: Self = Self {
        rounds: 41,
        repeat: 500_000,
        flood_rounds: 9,
        flood_time: Duration::from_secs(2),
        sizes: &[1, 10, 1_000, 100_000, 1_000_000],
        size_rounds: 21,
        starts: 9,
        idle: Duration::from_secs(30),
        client_rounds: 5,
    };
}
