//! The oldest Rust that the workspace claims to be written for, to compile it with.

use anyhow::Result;

use super::{Plan, Step};
use crate::{command, workspace::Workspace};

/// As `rust-version` of `Cargo.toml` has it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_RUST_VERSION");

/// A toolchain of rustup's; where there is no rustup it is left out, and the tests say so.
pub(super) struct OldestRust;

impl Step for OldestRust {
    fn plan(&self, _: &Workspace) -> Result<Option<Plan>> {
        let is_missing = command::find("rustup").is_some() && toolchain().is_none();
        let plan = || Plan {
            what: format!("have rustup fetch Rust {VERSION}"),
            cost: "150 MB; the toolchain in use stays as it is",
        };
        Ok(is_missing.then(plan))
    }

    fn act(&self, _: &Workspace) -> Result<()> {
        let mut install = command::program("rustup");
        install.args(["toolchain", "install", VERSION, "--profile", "minimal"]);
        command::run(install.arg("--no-self-update"))
    }
}

/// Its name, if rustup has it and it runs: an installation that was interrupted is listed too.
pub(crate) fn toolchain() -> Option<String> {
    let list = command::read(command::program("rustup").args(["toolchain", "list"])).ok()?;
    let name = named(&list)?;
    let mut rustc = command::program("rustup");
    rustc.args(["run", &name, "rustc", "--version"]);
    command::read(&mut rustc).ok().map(|_| name)
}

fn named(list: &str) -> Option<String> {
    let is_it = |name: &&str| {
        let numbers = name.split('-').next().unwrap_or_default();
        numbers == VERSION
            || numbers
                .strip_prefix(VERSION)
                .is_some_and(|rest| rest.starts_with('.'))
    };
    let mut names = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.find(is_it).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_not_taken_for_the_oldest() {
        let listed = |version: &str| {
            format!(
                "stable-x86_64-unknown-linux-gnu (active)\n{version}-x86_64-unknown-linux-gnu\n"
            )
        };
        assert!(named(&listed(VERSION)).is_some_and(|name| name.starts_with(VERSION)));
        assert!(named(&listed(&format!("{VERSION}.1"))).is_some());
        assert_eq!(named(&listed(&format!("{VERSION}0.0"))), None);
    }
}
