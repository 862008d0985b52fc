//! The command line: a file a verb.

mod allowlist;
mod args;
mod ask;
mod config;
mod events;
mod exec;
mod log;
mod object;
mod output;
mod run;
mod sources;
mod status;
mod top;
mod tracking;
mod traffic;
mod unload;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use self::args::{Cli, Command, GuardArgs};

/// What a command exits with where the command line or a configuration is wrong.
const WRONG_USAGE: u8 = 2;

/// Does what the command line says. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    log::to_stderr(cli.verbose);
    let done = match cli.command {
        // Before there is a runtime: what it executes is to find nothing of ours.
        Command::Exec(args) => exec::run(&args),
        command => run(cli.guard, command),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            output::complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// One thread does everything: there is little to do, and it is done in order.
#[tokio::main(flavor = "current_thread")]
async fn run(guard: GuardArgs, command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(guard, &args).await,
        Command::Status(args) => status::run(&guard, &args).await,
        Command::Sources(args) => sources::run(&guard, &args).await,
        Command::Events(args) => events::run(&guard, &args).await,
        Command::Top(args) => top::run(&guard, &args).await,
        Command::Allowlist(command) => allowlist::run(&guard, command).await,
        Command::Exec(args) => exec::run(&args),
        Command::Object(args) => object::run(&args),
        Command::Unload => unload::run(&guard).await,
    }
}
