//! Builds the eBPF object that the binary embeds.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use aya_build::{Package, Toolchain, build_ebpf};

/// What `cargo xtask setup` leaves behind, relative to the workspace.
const LINKER: &str = ".toolchain/bin/bpf-linker";
/// Names the rustup toolchain that the linker was built for, which has core's sources.
const TOOLCHAIN: &str = ".toolchain/rustup-toolchain";

fn main() -> Result<()> {
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)
        .join("..")
        .canonicalize()?;
    let linker = workspace.join(LINKER);
    println!("cargo:rerun-if-changed={}", linker.display());
    ensure!(
        linker.exists(),
        "{} is missing: run `cargo xtask setup` once, which builds it against this compiler's LLVM",
        linker.display()
    );
    println!(
        "cargo:rerun-if-changed={}",
        workspace.join("ntpguard-common/src").display()
    );

    let recorded = workspace.join(TOOLCHAIN);
    let toolchain = if let Ok(name) = fs::read_to_string(&recorded) {
        println!("cargo:rerun-if-changed={}", recorded.display());
        name.trim().to_owned()
    } else {
        // Not watched: cargo takes a file that is absent for one that changes all the time.
        println!("cargo:rerun-if-env-changed=RUSTUP_TOOLCHAIN");
        env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned())
    };

    // Building core for the BPF target takes cargo's -Z build-std, which stable has behind this.
    // What that cargo prints would all come out as warnings; errors and lints still do.
    // SAFETY: a build script is a process of its own, and no other thread of it runs yet.
    unsafe {
        env::set_var("RUSTC_BOOTSTRAP", "1");
        env::set_var("CARGO_TERM_QUIET", "true");
    }

    let package = workspace.join("ntpguard-ebpf");
    let root_dir = package
        .to_str()
        .context("the path of the workspace is not UTF-8")?;
    build_ebpf(
        [Package {
            name: "ntpguard-ebpf",
            root_dir,
            ..Package::default()
        }],
        Toolchain::Custom(&toolchain),
    )
    .context("the eBPF object did not build; `cargo xtask setup` mends a toolchain that changed")?;
    // Build scripts of dependents get this as DEP_NTPGUARD_EBPF_OBJECTS.
    println!("cargo::metadata=objects={}", env::var("OUT_DIR")?);
    Ok(())
}
