//! Chores of the workspace: `cargo xtask setup`, `run`, `test`, `fuzz`, `bench`, `vm`, `layout`,
//! `words`, `versions` and `miri`.

mod apt;
mod bench;
mod command;
mod fuzz;
mod layout;
mod ldd;
mod miri;
mod parallel;
mod run;
mod setup;
mod test;
mod versions;
mod vm;
mod words;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Chores of the ntpguard workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    Setup(setup::Options),
    Run(run::Options),
    Test(test::Options),
    Fuzz(fuzz::Options),
    Layout(layout::Options),
    Miri(miri::Options),
    Bench(bench::Options),
    Versions(versions::Options),
    Vm(vm::Options),
    Words(words::Options),
}

fn main() -> ExitCode {
    match execute(&Cli::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // For people: what went wrong and why, and no backtrace of this program.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(chore: &Chore) -> Result<()> {
    let workspace = Workspace::find()?;
    match chore {
        Chore::Setup(options) => setup::execute(&workspace, options),
        Chore::Run(options) => run::execute(&workspace, options),
        Chore::Test(options) => test::execute(&workspace, options),
        Chore::Fuzz(options) => fuzz::execute(&workspace, options),
        Chore::Layout(_) => layout::execute(&workspace),
        Chore::Miri(options) => miri::execute(&workspace, options),
        Chore::Bench(options) => bench::execute(&workspace, options),
        Chore::Versions(_) => versions::execute(&workspace),
        Chore::Vm(options) => vm::execute(&workspace, options),
        Chore::Words(_) => words::execute(&workspace),
    }
}
