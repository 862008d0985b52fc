//! ntpd-rs for the tests: no distribution that we know has it, so cargo builds it.

use anyhow::{Result, ensure};

use super::{Plan, Step};
use crate::{command, workspace::Workspace};

/// Its crate is called `ntpd`.
const VERSION: &str = "1.9.0";
const PLACE: &str = "daemons/ntpd-rs";
/// The daemon, and the tool that checks its files. Their `--version` ends with the version.
const PROGRAMS: [&str; 2] = ["ntp-daemon", "ntp-ctl"];

/// The daemon of the crate `ntpd`.
pub(super) struct NtpdRs;

impl Step for NtpdRs {
    fn plan(&self, workspace: &Workspace) -> Result<Option<Plan>> {
        let plan = || Plan {
            what: format!("build ntpd-rs {VERSION} into .toolchain"),
            cost: "two minutes; it is not installed",
        };
        Ok((!is_built(workspace)).then(plan))
    }

    fn act(&self, workspace: &Workspace) -> Result<()> {
        let mut install = command::cargo();
        // Built for speed it would take twice as long. Clocks on PCI cards and SRV records, which
        // it has by default, no test has.
        install.args(["install", "ntpd", "--version", VERSION, "--locked"]);
        install.args(["--force", "--debug", "--no-default-features"]);
        install.args(["--features", "aws-lc,rustcrypto", "--root"]);
        install.arg(workspace.made(PLACE));
        for program in PROGRAMS {
            install.args(["--bin", program]);
        }
        install.env("CARGO_PROFILE_DEV_DEBUG", "false");
        // cargo's own choice is a temporary directory, which it removes.
        command::run(install.env_remove("CARGO_TARGET_DIR"))?;
        ensure!(
            is_built(workspace),
            "what was built is not ntpd-rs {VERSION}"
        );
        Ok(())
    }
}

fn is_built(workspace: &Workspace) -> bool {
    PROGRAMS.iter().all(|program| {
        let path = workspace.made(PLACE).join("bin").join(program);
        let output = command::program(path).arg("--version").output();
        // It tells its version on standard error.
        output.is_ok_and(|output| is_version(&String::from_utf8_lossy(&output.stderr)))
    })
}

fn is_version(printed: &str) -> bool {
    printed.split_whitespace().next_back() == Some(VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_not_taken_for_ours() {
        assert!(is_version(&format!("ntp-daemon {VERSION}\n")));
        assert!(!is_version(&format!("ntp-daemon {VERSION}1\n")));
        assert!(!is_version("ntp-daemon 1.8.0\n"));
        assert!(!is_version(""));
    }
}
