//! Runs the judge's fixtures, and made-up packets, through the kernel programs, and attaches them to
//! the tc hooks. For kernels other than the one of this machine; on this one, `tests/fixtures.rs` does
//! the same.

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use ntpguard_tests::{chained, fixtures, locked_memory, tc_hooks};

/// Run the judge's fixtures through the kernel programs, and attach these. Needs root.
#[derive(Parser)]
struct Options {
    /// How many made-up packets to judge as well
    #[arg(long, default_value_t = 2_000, value_name = "PACKETS")]
    fuzz: u32,
    /// What makes them up; another at each run unless it is given
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let outcome = fixtures::run()?;
    for line in &outcome.failed {
        println!("{line}");
    }
    println!(
        "fixtures: {} passed, {} failed",
        outcome.passed,
        outcome.failed.len()
    );

    let seed = options.seed.unwrap_or_else(seed_of_the_moment);
    let fuzzed = fixtures::fuzz(options.fuzz, seed);
    match &fuzzed {
        Ok(()) => println!(
            "fuzz: {} packets of seed {seed}, no disagreement",
            options.fuzz
        ),
        Err(error) => println!("fuzz: seed {seed}: {error:#}"),
    }
    let attached = tc_hooks::run();
    match &attached {
        Ok(tc) => println!(
            "tc hooks: attached by {}, alone and beside others",
            tc.name()
        ),
        Err(error) => println!("tc hooks: {error:#}"),
    }
    let chained = chained::run();
    match &chained {
        Ok(chained) => println!("xdp-loader: {chained:?}"),
        Err(error) => println!("xdp-loader: {error:#}"),
    }
    // Last, as it gives up what the others take.
    let locked = locked_memory::run();
    match &locked {
        Ok(locked) => println!("a low limit on locked memory: {locked}"),
        Err(error) => println!("a low limit on locked memory: {error:#}"),
    }
    let good = outcome.failed.is_empty() && outcome.passed > 0;
    let good = good && fuzzed.is_ok() && attached.is_ok() && chained.is_ok() && locked.is_ok();
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn seed_of_the_moment() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| u64::from(now.subsec_nanos()))
}
