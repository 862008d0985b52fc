//! `cargo xtask miri`: the tests of `ntpguard-common` in an interpreter that sees undefined
//! behaviour. It needs a nightly compiler, so no other chore depends on it.

use anyhow::{Result, ensure};

use crate::{command, workspace::Workspace};

/// Run the unit tests of ntpguard-common under Miri, with rustup's nightly compiler
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only tests whose names contain one of these
    filter: Vec<String>,
}

/// Runs the subcommand.
pub(crate) fn execute(workspace: &Workspace, options: &Options) -> Result<()> {
    ensure!(
        command::find("rustup").is_some(),
        "Miri needs a nightly compiler, and there is no rustup here to bring one"
    );
    if command::read(&mut nightly(&["cargo", "miri", "--version"])).is_err() {
        let mut install = command::program("rustup");
        install.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
        install.args(["--component", "miri", "--component", "rust-src"]);
        command::run(install.arg("--no-self-update"))?;
    }
    let mut miri = nightly(&["cargo", "miri", "test", "--package", "ntpguard-common"]);
    miri.arg("--lib").arg("--target-dir");
    miri.arg(workspace.target().join("miri"));
    // The interpreter takes a thousand times as long, and the tests read files.
    miri.env("PROPTEST_CASES", "8");
    miri.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    command::run(
        miri.arg("--")
            .args(&options.filter)
            .current_dir(workspace.root()),
    )
}

fn nightly(words: &[&str]) -> std::process::Command {
    let mut command = command::program("rustup");
    command.args(["run", "nightly"]).args(words);
    command
}
