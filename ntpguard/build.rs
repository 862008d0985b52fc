//! Builds the eBPF object that the binary embeds.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use aya_build::{Package, Toolchain, build_ebpf};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// What is built: the guard's object, and that of its bench.
const OBJECTS: [&str; 2] = ["ntpguard-bpf", "ntpguard-bench-bpf"];
/// What `cargo xtask setup` leaves behind, relative to the workspace.
const LINKER: &str = ".toolchain/bin/bpf-linker";
/// Names the rustup toolchain that the linker was built for, which has core's sources.
const TOOLCHAIN: &str = ".toolchain/rustup-toolchain";

/// What aya-build skips the object for: checking the source that embeds it needs none.
const SKIP: &str = "AYA_BUILD_SKIP";

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed={SKIP}");
    if env::var_os(SKIP).is_some_and(|skip| skip == "1") {
        return leave_empty();
    }
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
    // The manifest has the profile that the object is built with.
    for input in ["ntpguard-common/src", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", workspace.join(input).display());
    }

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
    let objects = PathBuf::from(env::var("OUT_DIR")?);
    for name in OBJECTS {
        let path = objects.join(name);
        strip(&path).with_context(|| format!("cannot strip {}", path.display()))?;
    }
    // Build scripts of dependents get this as DEP_NTPGUARD_EBPF_OBJECTS.
    println!("cargo::metadata=objects={}", objects.display());
    Ok(())
}

/// Leaves empty files where the objects would be, for `cargo check`.
fn leave_empty() -> Result<()> {
    let directory = PathBuf::from(env::var("OUT_DIR")?);
    for name in OBJECTS {
        fs::write(directory.join(name), [])?;
    }
    println!("cargo::metadata=objects={}", directory.display());
    Ok(())
}

/// Takes out what is for debuggers. The linker has made BTF of it, and the rest would be read, and
/// relocated, at every start: it is four fifths of the object.
fn strip(path: &Path) -> Result<()> {
    let object = fs::read(path)?;
    let mut builder = Builder::read(object.as_slice())?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug") || name.starts_with(b".rel.debug");
    }
    name_sections_apart(&mut builder);
    builder.delete_orphans();
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(fs::write(path, stripped)?)
}

/// Gives the names of sections a section of their own: the linker has them among those of symbols.
fn name_sections_apart(builder: &mut Builder<'_>) {
    let names = builder.sections.add();
    names.name = (&b".shstrtab"[..]).into();
    names.sh_type = SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
}
