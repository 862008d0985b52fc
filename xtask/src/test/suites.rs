//! The suites of tests.

use anyhow::{Context as _, Result};

use super::cargo;
use crate::{command, setup::toolchain::Toolchain, workspace::Workspace};

/// The packages whose tests need neither root nor the kernel. Those of the fuzz targets replay the
/// seeds.
const UNITS: [&str; 4] = ["ntpguard-common", "ntpguard", "ntpguard-fuzz", "xtask"];

/// What needs nothing but a compiler.
pub(super) fn unit_tests(workspace: &Workspace, filter: &[String]) -> Result<()> {
    let mut test = command::cargo();
    test.arg("test");
    for package in UNITS {
        test.args(["--package", package]);
    }
    command::run(test.arg("--").args(filter).current_dir(workspace.root()))
}

/// Each makes network namespaces of its own and starts daemons: two at a time is enough.
pub(super) fn integration_tests(workspace: &Workspace, filter: &[String]) -> Result<()> {
    cargo(workspace, &["build", "--package", "ntpguard"])?;
    let mut test = command::cargo();
    test.args([
        "test",
        "--package",
        "ntpguard-tests",
        "--",
        "--test-threads=2",
    ])
    .args(filter);
    test.env("NTPGUARD_BIN", workspace.target().join("debug/ntpguard"));
    test.env("NTPGUARD_DAEMONS", workspace.made("daemons"));
    if !command::is_root() {
        println!("the integration tests need root: calling sudo for them");
        let toolchain =
            Toolchain::for_bpf(workspace).context("no compiler here has the sources of core")?;
        test.env(runner_variable(&toolchain.version()?.host), "sudo -E");
    }
    command::run(test.current_dir(workspace.root()))
}

/// The variable by which cargo learns through what to start the programs of a target.
fn runner_variable(host: &str) -> String {
    format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_ascii_uppercase().replace('-', "_")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_named_for_the_host() {
        assert_eq!(
            runner_variable("x86_64-unknown-linux-gnu"),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
        );
    }
}
