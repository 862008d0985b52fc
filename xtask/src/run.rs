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
    /// Build without optimisation, with what a debugger needs
    #[arg(long)]
    debug: bool,
    /// Build as packages are built: smallest, and slowest to build
    #[arg(long, conflicts_with = "debug")]
    release: bool,
    /// What to pass to `ntpguard run`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// A profile of `Cargo.toml`, and where cargo puts what it builds with it.
#[derive(Debug, PartialEq, Eq)]
struct Profile {
    name: &'static str,
    directory: &'static str,
}

impl Options {
    fn profile(&self) -> Profile {
        let (name, directory) = match (self.debug, self.release) {
            (true, _) => ("dev", "debug"),
            (false, true) => ("release", "release"),
            (false, false) => ("quick", "quick"),
        };
        Profile { name, directory }
    }
}

/// Runs the subcommand. Returns only if the guard could not be started.
pub(crate) fn execute(workspace: &Workspace, options: &Options) -> Result<()> {
    setup::prepare(workspace, Purpose::Run, options.yes)?;
    let mut build = command::cargo();
    build.args(["build", "--package", "ntpguard", "--bin", "ntpguard"]);
    let profile = options.profile();
    build.args(["--profile", profile.name]);
    command::run(build.current_dir(workspace.root()))?;

    let guard = workspace.target().join(profile.directory).join("ntpguard");
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

    #[test]
    fn a_profile_that_is_soon_built_is_taken_unless_another_is_asked_for() {
        let profile = |line: &str| {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            cli.options.profile().name
        };
        assert_eq!(profile("run -i eth0"), "quick");
        assert_eq!(profile("run --debug"), "dev");
        assert_eq!(profile("run --release -i eth0"), "release");
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains("[profile.quick]"));
    }
}
