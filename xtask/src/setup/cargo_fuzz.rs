//! cargo-fuzz, which builds programs with libFuzzer's instrumentation and runs them.

use std::path::PathBuf;

use anyhow::Result;

use super::{Plan, Step};
use crate::{command, workspace::Workspace};

const VERSION: &str = "0.13.2";

/// The tool.
pub(super) struct CargoFuzz;

impl Step for CargoFuzz {
    fn plan(&self, workspace: &Workspace) -> Result<Option<Plan>> {
        let found = command::read(command::program(path(workspace)).arg("--version"));
        let is_there = found.is_ok_and(|version| version.trim().ends_with(VERSION));
        let plan = || Plan {
            what: format!("build cargo-fuzz {VERSION} into .toolchain"),
            cost: "a minute",
        };
        Ok((!is_there).then(plan))
    }

    fn act(&self, workspace: &Workspace) -> Result<()> {
        let mut install = command::cargo();
        install.args(["install", "cargo-fuzz", "--version", VERSION]);
        install.args(["--locked", "--force", "--root"]);
        install.arg(workspace.made(""));
        // cargo's own choice is a temporary directory, which it removes.
        command::run(install.env_remove("CARGO_TARGET_DIR"))
    }
}

/// Where the tool is.
pub(crate) fn path(workspace: &Workspace) -> PathBuf {
    workspace.made("bin/cargo-fuzz")
}
