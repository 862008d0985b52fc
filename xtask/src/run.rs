//! `cargo xtask run`: the guard, built and started, from a fresh checkout.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Stdio};

use anyhow::{Context as _, Result};

use crate::{
    command,
    setup::{self, Purpose},
    workspace::Workspace,
};

/// Build the guard and run it as root: `cargo xtask run -i eth0`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Do not ask before preparing this machine
    #[arg(long)]
    yes: bool,
    /// Build without optimisation, which is quicker
    #[arg(long)]
    debug: bool,
    /// What to pass to `ntpguard run`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the subcommand. Returns only if the guard could not be started.
pub(crate) fn execute(workspace: &Workspace, options: &Options) -> Result<()> {
    setup::prepare(workspace, Purpose::Run, options.yes)?;
    let mut build = command::cargo();
    build.args(["build", "--package", "ntpguard", "--bin", "ntpguard"]);
    if !options.debug {
        build.arg("--release");
    }
    command::run(build.current_dir(workspace.root()))?;

    let profile = if options.debug { "debug" } else { "release" };
    let guard = workspace.target().join(profile).join("ntpguard");
    if !command::is_root() {
        println!("the guard needs root: calling sudo");
    }
    let mut command = command::as_root(guard)?;
    command
        .arg("run")
        .args(&options.arguments)
        .stdin(Stdio::inherit());
    // This process becomes the guard, so signals reach it.
    Err(command.exec()).with_context(|| format!("`{}` does not start", command::shown(&command)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn arguments(line: &str) -> Vec<OsString> {
        Cli::try_parse_from(line.split(' '))
            .unwrap()
            .options
            .arguments
    }

    #[test]
    fn the_guards_arguments_pass_through_with_and_without_dashes_before_them() {
        assert_eq!(
            arguments("run -i eth0 --mode monitor"),
            ["-i", "eth0", "--mode", "monitor"]
        );
        assert_eq!(arguments("run -- -i eth0"), ["-i", "eth0"]);
        assert!(arguments("run --yes").is_empty());
    }

    #[test]
    fn options_of_our_own_come_first_and_later_ones_are_the_guards() {
        let options = Cli::try_parse_from(["run", "--yes", "-i", "eth0", "--debug"])
            .unwrap()
            .options;
        assert!(options.yes && !options.debug);
        assert_eq!(options.arguments, ["-i", "eth0", "--debug"]);
    }
}
