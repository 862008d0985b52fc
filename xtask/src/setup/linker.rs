//! bpf-linker, built against the LLVM of the compiler whose bitcode it reads: even another patch
//! level of LLVM can fail on it.

use std::{ffi::OsStr, fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, Result, bail};

use super::{
    Plan, Step,
    toolchain::{Toolchain, Version, write},
};
use crate::{command, ldd, workspace::Workspace};

const VERSION: &str = "0.13.0";
/// The major versions of LLVM that this bpf-linker can be built against.
const LLVM: std::ops::RangeInclusive<u32> = 21..=23;
const COST: &str = "one to four minutes";
/// What the linker was built for.
const STAMP: &str = "bpf-linker.stamp";

/// The linker.
pub(super) struct Linker;

impl Step for Linker {
    fn plan(&self, workspace: &Workspace) -> Result<Option<Plan>> {
        let Some(toolchain) = Toolchain::for_bpf(workspace) else {
            return Ok(Some(Plan {
                what: format!("build bpf-linker {VERSION}"),
                cost: COST,
            }));
        };
        let version = toolchain.version()?;
        let wanted = stamp(&version, &workspace.made("llvm"));
        let built = fs::read_to_string(workspace.made(STAMP)).unwrap_or_default();
        if built == wanted && runs(workspace) {
            return Ok(None);
        }
        let (llvm, rust) = (version.llvm, version.release);
        Ok(Some(Plan {
            what: format!("build bpf-linker {VERSION} against the LLVM {llvm} of Rust {rust}"),
            cost: COST,
        }))
    }

    fn act(&self, workspace: &Workspace) -> Result<()> {
        let toolchain =
            Toolchain::for_bpf(workspace).context("no compiler here has the sources of core")?;
        let version = toolchain.version()?;
        let feature = feature(&version.llvm)?;
        let llvm = workspace.made("llvm");
        link_llvm(&toolchain, &llvm.join("lib"))?;
        let mut install = toolchain.program("cargo");
        install.args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
        ]);
        install.args(["--no-default-features", "--features", &feature, "--root"]);
        install.arg(workspace.made("")).env("LLVM_PREFIX", &llvm);
        // It is built more often than it would gain by being faster.
        install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        // cargo's own choice is a temporary directory, which it removes.
        command::run(install.env_remove("CARGO_TARGET_DIR"))?;
        toolchain.record(workspace)?;
        write(&workspace.made(STAMP), &stamp(&version, &llvm))
    }
}

/// The linker finds its LLVM by an absolute path, so a checkout that was moved needs a new one.
fn stamp(version: &Version, llvm: &Path) -> String {
    format!(
        "bpf-linker {VERSION}\nllvm in {}\n{}",
        llvm.display(),
        version.whole
    )
}

/// Whether the linker starts: its LLVM may have gone, with the toolchain it belonged to.
fn runs(workspace: &Workspace) -> bool {
    command::read(command::program(workspace.made("bin/bpf-linker")).arg("--version")).is_ok()
}

/// The feature of bpf-linker that names a version of LLVM.
fn feature(llvm: &str) -> Result<String> {
    let major = llvm.split('.').next().and_then(|major| major.parse().ok());
    match major {
        Some(major) if LLVM.contains(&major) => Ok(format!("llvm-{major}")),
        _ => bail!(
            "bpf-linker {VERSION} takes LLVM {} to {}, and this compiler has {llvm}: use another Rust",
            LLVM.start(),
            LLVM.end()
        ),
    }
}

/// A directory that looks like an LLVM installation's: llvm-sys wants `libLLVM.so`, and the linker
/// when it runs wants the name that the library calls itself.
fn link_llvm(toolchain: &Toolchain, directory: &Path) -> Result<()> {
    let compiler = toolchain.root()?.join("bin/rustc");
    let library = ldd::library(&compiler, "libLLVM")?.with_context(|| {
        format!(
            "{} has LLVM built in, and bpf-linker needs it as a library",
            compiler.display()
        )
    })?;
    let own = library.file_name().context("a library without a name")?;
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    for name in [OsStr::new("libLLVM.so"), own] {
        let link = directory.join(name);
        symlink(library.canonicalize()?, &link)
            .with_context(|| format!("{} cannot be made", link.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(llvm: &str) -> Version {
        Version {
            whole: format!("rustc\nLLVM version: {llvm}\n"),
            release: "1.95.0".to_owned(),
            host: "x86_64-unknown-linux-gnu".to_owned(),
            llvm: llvm.to_owned(),
        }
    }

    #[test]
    fn a_stamp_tells_another_compiler_and_another_place_apart() {
        let here = Path::new("/a/llvm");
        assert_eq!(
            stamp(&version("22.1.2"), here),
            stamp(&version("22.1.2"), here)
        );
        assert_ne!(
            stamp(&version("22.1.2"), here),
            stamp(&version("22.1.3"), here)
        );
        assert_ne!(
            stamp(&version("22.1.2"), here),
            stamp(&version("22.1.2"), Path::new("/b/llvm"))
        );
    }

    #[test]
    fn the_feature_follows_the_major_version_of_llvm() {
        assert_eq!(feature("22.1.2").unwrap(), "llvm-22");
        assert_eq!(feature("21.1").unwrap(), "llvm-21");
    }

    #[test]
    fn an_llvm_that_the_linker_cannot_take_is_named() {
        for llvm in ["20.1.8", "24.0.0", "", "x"] {
            let error = feature(llvm).unwrap_err().to_string();
            assert!(
                error.contains("21 to 23") && error.contains(llvm),
                "{error}"
            );
        }
    }
}
