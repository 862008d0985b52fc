//! `cargo xtask bench`: what the guard costs, side by side with what people use instead.

use std::ffi::OsString;

use anyhow::Result;

use crate::{
    command,
    setup::{self, Purpose},
    workspace::Workspace,
};

/// Measure the guard, and what people use instead, as root: `cargo xtask bench --quick`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Do not ask before preparing this machine
    #[arg(long)]
    yes: bool,
    /// What to pass on: parts to measure, `--quick`, `--docs`; `-- --help` tells all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the subcommand.
pub(crate) fn execute(workspace: &Workspace, options: &Options) -> Result<()> {
    setup::prepare(workspace, Purpose::Bench, options.yes)?;
    let mut build = command::cargo();
    build.args(["build", "--release", "--package", "ntpguard"]);
    build.args([
        "--package",
        "ntpguard-tests",
        "--bin",
        "ntpguard",
        "--bin",
        "bench",
    ]);
    command::run(build.current_dir(workspace.root()))?;

    let built = workspace.target().join("release");
    let mut bench = command::as_root("env")?;
    for (name, path) in [
        ("NTPGUARD_BIN", built.join("ntpguard")),
        ("NTPGUARD_DAEMONS", workspace.made("daemons")),
    ] {
        let mut variable = OsString::from(name);
        variable.push("=");
        variable.push(path);
        bench.arg(variable);
    }
    bench.arg(built.join("bench")).args(&options.arguments);
    command::run(bench.current_dir(workspace.root()))
}
