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
mod unload;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use ntpguard::readers::Readers;

use self::args::{Cli, Command};

/// What a command exits with where the command line or a configuration is wrong.
const WRONG_USAGE: u8 = 2;

/// Does what the command line says. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::from_command_line();
    log::to_stderr(cli.verbose);
    let done = match cli.command {
        // Before there is a runtime: what it executes is to find nothing of ours.
        Command::Exec(args) => exec::run(&args),
        Command::Run(args) => close_inherited()
            .and_then(|()| readers())
            .and_then(|readers| wait_for(run::run(cli.guard, &args, readers))),
        Command::Sources(args) => {
            readers().and_then(|readers| wait_for(sources::run(&cli.guard, &args, &readers)))
        }
        Command::Allowlist(command) => {
            readers().and_then(|readers| wait_for(allowlist::run(&cli.guard, command, &readers)))
        }
        Command::Status(args) => wait_for(status::run(&cli.guard, &args)),
        Command::Events(args) => wait_for(events::run(&cli.guard, &args)),
        Command::Top(args) => wait_for(top::run(&cli.guard, &args)),
        Command::Object(args) => object::run(&args),
        Command::Unload => wait_for(unload::run(&cli.guard)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            output::complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// A guard runs for months, and what its starter left open would stay so.
fn close_inherited() -> Result<()> {
    let closed = ntpguard::confine::close_inherited(std::env::args_os());
    closed.context("cannot close the files that this process came with")
}

/// The processes that parse, forked while there is one thread and nothing was read.
fn readers() -> Result<Readers> {
    ntpguard::work::start_readers().context("cannot start the parser processes")
}

/// One thread does everything: there is little to do, and it is done in order.
#[tokio::main(flavor = "current_thread")]
async fn wait_for(done: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    done.await
}
