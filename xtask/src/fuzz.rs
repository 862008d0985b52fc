//! `cargo xtask fuzz`: random input for what reads configurations, daemons' answers and packets.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{
    command,
    setup::{self, Purpose, cargo_fuzz},
    workspace::Workspace,
};

/// Try the readers of configurations, of daemons' answers and of packets with random input
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Do not ask before preparing this machine
    #[arg(long)]
    yes: bool,
    /// How long to try each target
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// The targets to try; without any, all of them
    targets: Vec<String>,
}

/// Runs the subcommand. The first input that a target fails on ends it, and is kept.
pub(crate) fn execute(workspace: &Workspace, options: &Options) -> Result<()> {
    setup::prepare(workspace, Purpose::Fuzz, options.yes)?;
    let all = command::read(&mut cargo_fuzz(workspace, "list"))?;
    let all: Vec<&str> = all.lines().collect();
    for target in &options.targets {
        ensure!(
            all.contains(&target.as_str()),
            "there is no target {target:?}: it is one of {}",
            all.join(", ")
        );
    }
    let chosen = |target: &&&str| {
        options.targets.is_empty() || options.targets.iter().any(|chosen| chosen == **target)
    };
    command::run(&mut instrumented(workspace, "build"))?;
    for target in all.iter().filter(chosen) {
        println!("\n== {target} ==");
        run(workspace, target, options.seconds)?;
    }
    Ok(())
}

/// Runs one target. What it finds out is kept from run to run, apart from the seeds.
fn run(workspace: &Workspace, target: &str, seconds: u32) -> Result<()> {
    let corpus = workspace.target().join("fuzz").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("{} cannot be made", corpus.display()))?;
    let mut run = instrumented(workspace, "run");
    run.arg(target).arg(&corpus);
    run.arg(directory(workspace).join("seeds").join(target));
    run.arg("--").arg(format!("-max_total_time={seconds}"));
    run.args(["-timeout=10", "-print_final_stats=1"]);
    command::run(&mut run)
}

/// A subcommand that builds. Of the sanitizers, which want a nightly compiler, there is none: the
/// only unsafe code is at the kernel's boundary, where no target comes.
fn instrumented(workspace: &Workspace, subcommand: &str) -> Command {
    let mut command = cargo_fuzz(workspace, subcommand);
    command.args(["--dev", "--sanitizer", "none"]);
    // All that a failure's backtrace needs.
    command.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    command
}

fn cargo_fuzz(workspace: &Workspace, subcommand: &str) -> Command {
    let mut command = command::program(cargo_fuzz::path(workspace));
    command
        .args([subcommand, "--fuzz-dir"])
        .arg(directory(workspace));
    command.current_dir(workspace.root());
    command
}

fn directory(workspace: &Workspace) -> PathBuf {
    workspace.root().join("tests/fuzz")
}
