//! The loaded kernel programs say of every packet what the judge says of it, and attach where other
//! kernels are tested to let them.

use anyhow::{Result, ensure};
use ntpguard_tests::{chained, fixtures, tc_hooks};

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
fn a_frame_in_several_buffers_gets_the_verdict_of_the_whole() -> Result<()> {
    let splits = fixtures::split()?;
    eprintln!("{splits:?}");
    ensure!(
        splits.run > 100_000 || splits.run == 0,
        "only {splits:?} ran"
    );
    Ok(())
}

#[test]
fn the_kernel_program_agrees_with_the_judge_on_made_up_packets() -> Result<()> {
    // Always the same ones, so that a failure can be had again; the binary tries others.
    fixtures::fuzz(20_000, 0x6e74_7067_7561_7264)
}

#[test]
fn on_the_tc_hooks_the_guard_stands_alone_and_beside_others() -> Result<()> {
    tc_hooks::run().map(drop)
}

#[test]
fn xdp_loader_takes_the_object_and_it_judges_by_the_guards_tables() -> Result<()> {
    chained::run().map(drop)
}
