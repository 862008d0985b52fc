//! `ntpguard run`: guard until stopped.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use ntpguard::{
    allowlist::ClaimSet,
    api::allowlist::Listing,
    clock::BootSeconds,
    daemon::{self, Options},
    escape, processes,
    readers::Readers,
    sources::{self, Discovered, Host, Severity, Want},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    WRONG_USAGE,
    args::{GuardArgs, RunArgs},
    config, output,
};

pub(crate) async fn run(guard: GuardArgs, args: &RunArgs, readers: Readers) -> Result<ExitCode> {
    let options = match config::options(guard, args) {
        Ok(options) => options,
        Err(error) => {
            output::complain(error.as_ref());
            return Ok(ExitCode::from(WRONG_USAGE));
        }
    };
    if args.check {
        return check(&options, &readers);
    }
    daemon::run(options, readers, stopped()?).await?;
    Ok(ExitCode::SUCCESS)
}

/// Ends with SIGINT or SIGTERM.
fn stopped() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Reads the sources and prints the resulting grants, without touching the kernel.
fn check(options: &Options, readers: &Readers) -> Result<ExitCode> {
    processes::add_accounts(options.accounts.clone());
    let now = BootSeconds::now();
    let mut book = ClaimSet::default();
    let found = if options.origins.discover {
        sources::discover(readers, Path::new("/"), &options.origins.trust)
    } else {
        Discovered {
            sources: options.origins.sources.clone(),
            ..Discovered::default()
        }
    };
    book.findings = found.problems;
    for source in &found.sources {
        let line = format!("{source}: {}", source.why);
        output::print(&(escape::line(&line) + "\n"))?;
        book.read(
            &source.to_string(),
            &source.path,
            source.read(readers, options.origins.serve),
            now,
        );
    }
    for (_, want) in book.wants() {
        if let Want::Source {
            host: Host::Name(name),
            roles,
            place,
            ..
        } = want
        {
            let roles: Vec<&str> = roles.iter().map(|role| role.name()).collect();
            let line = format!("{place}: {name} as {}", roles.join(", "));
            output::print(&(escape::line(&line) + "\n"))?;
        }
    }
    for row in Listing::of(&book.claims(), &book.interfaces, now).rows {
        let line = format!("{}: {} as {}", row.places.join(", "), row.prefix, row.role);
        output::print(&(escape::line(&line) + "\n"))?;
    }
    let mut wrong = false;
    for problem in book.problems() {
        wrong |= problem.severity != Severity::Note;
        output::print(&(escape::line(&problem.to_string()) + "\n"))?;
    }
    Ok(if wrong {
        ExitCode::from(WRONG_USAGE)
    } else {
        ExitCode::SUCCESS
    })
}
