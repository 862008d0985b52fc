//! The loaded kernel program says of every packet what the judge says of it.

use anyhow::{Result, ensure};
use ntpguard_tests::fixtures;

#[test]
fn the_kernel_program_gives_each_fixture_its_verdict() -> Result<()> {
    let outcome = fixtures::run()?;
    ensure!(outcome.failed.is_empty(), "{}", outcome.failed.join("\n"));
    ensure!(
        outcome.passed > 10_000,
        "only {} fixtures ran",
        outcome.passed
    );
    Ok(())
}

#[test]
fn the_kernel_program_agrees_with_the_judge_on_made_up_packets() -> Result<()> {
    // Always the same ones, so that a failure can be had again; the binary tries others.
    fixtures::fuzz(20_000, 0x6e74_7067_7561_7264)
}
