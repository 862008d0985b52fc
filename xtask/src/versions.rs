//! `cargo xtask versions`: the oldest compiler and the oldest packages that `Cargo.toml` claims are enough.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, Result};

use crate::{command, setup::oldest_rust, workspace::Workspace};

/// What is compiled for the host. The fuzz targets and chores are for who works on this, with a
/// compiler of today.
const PACKAGES: [&str; 4] = ["--package", "ntpguard-common", "--package", "ntpguard"];

/// Compile the guard with the oldest Rust and the oldest dependencies that its manifest claims
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

/// Runs the subcommand.
pub(crate) fn execute(workspace: &Workspace) -> Result<()> {
    oldest_rust(workspace)?;
    oldest_dependencies(workspace)
}

/// Compiles the guard with the oldest Rust that it claims to be written for.
fn oldest_rust(workspace: &Workspace) -> Result<()> {
    let Some(name) = oldest_rust::toolchain() else {
        println!(
            "note: NOT compiled with Rust {}, since there is no rustup here to bring it",
            oldest_rust::VERSION
        );
        return Ok(());
    };
    let mut check = command::program("rustup");
    check
        .args(["run", &name, "cargo", "check", "--locked"])
        .args(PACKAGES);
    check
        .arg("--target-dir")
        .arg(workspace.target().join("oldest-rust"));
    // The programs for the kernel are for the compiler that setup chose.
    check.env("AYA_BUILD_SKIP", "1");
    command::run(check.current_dir(workspace.root()))
}

/// What a copy of the workspace needs besides its manifest.
const FOLDERS: [&str; 6] = [
    "docs",
    "ntpguard",
    "ntpguard-common",
    "ntpguard-ebpf",
    "tests",
    "xtask",
];

/// Compiles the guard with the oldest versions of the packages that it names.
fn oldest_dependencies(workspace: &Workspace) -> Result<()> {
    let directory = workspace.target().join("oldest-dependencies");
    let copy = directory.join("workspace");
    copy_manifests(workspace, &copy)?;
    let mut update = command::cargo();
    update.args(["update", "--quiet", "-Z", "direct-minimal-versions"]);
    command::run(update.env("RUSTC_BOOTSTRAP", "1").current_dir(&copy))
        .context("the lower bounds of Cargo.toml contradict each other")?;
    let mut check = command::cargo();
    check.args(["check", "--locked"]).args(PACKAGES);
    check.arg("--target-dir").arg(directory.join("target"));
    command::run(check.env("AYA_BUILD_SKIP", "1").current_dir(&copy))
}

/// Has a workspace with a lock file of its own, and with the sources of this one.
fn copy_manifests(workspace: &Workspace, copy: &Path) -> Result<()> {
    fs::create_dir_all(copy).with_context(|| format!("{} cannot be made", copy.display()))?;
    for file in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(workspace.root().join(file), copy.join(file))
            .with_context(|| format!("{file} cannot be copied into {}", copy.display()))?;
    }
    for folder in FOLDERS {
        let link = copy.join(folder);
        if !link.exists() {
            symlink(workspace.root().join(folder), &link)
                .with_context(|| format!("{} cannot be made", link.display()))?;
        }
    }
    Ok(())
}
