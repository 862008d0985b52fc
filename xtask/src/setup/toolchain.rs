//! The compiler of the eBPF programs: one that has the sources of its own core library, which has
//! to be built for the BPF target.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{Plan, Step};
use crate::{apt, command, workspace::Workspace};

/// Holds the name of the rustup toolchain that compiles the eBPF programs. `ntpguard/build.rs`
/// reads it.
const RECORD: &str = "rustup-toolchain";
/// The name under which rustup learns the distribution's compiler.
const LINKED: &str = "ntpguard-bpf";
/// Where core begins, from the compiler's root.
const CORE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

/// What `rustc -vV` says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// All of it.
    pub(crate) whole: String,
    /// `1.95.0`, or `1.97.0-nightly`.
    pub(crate) release: String,
    /// The target triple of the machine it runs on.
    pub(crate) host: String,
    /// `22.1.2`.
    pub(crate) llvm: String,
}

impl Version {
    fn parse(printed: &str) -> Option<Self> {
        let field = |name| {
            printed
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::to_owned)
        };
        Some(Self {
            whole: printed.to_owned(),
            release: field("release: ")?,
            host: field("host: ")?,
            llvm: field("LLVM version: ")?,
        })
    }
}

/// A compiler and its cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// As rustup knows it; none on a machine without rustup, which has one compiler only.
    name: Option<String>,
}

impl Toolchain {
    /// The one whose cargo called us; none if rustup has none that is active.
    fn active() -> Option<Self> {
        if command::find("rustup").is_none() {
            return Some(Self { name: None });
        }
        let name = env::var("RUSTUP_TOOLCHAIN").ok().or_else(|| {
            let printed =
                command::read(command::program("rustup").args(["show", "active-toolchain"]));
            printed.ok()?.split_whitespace().next().map(str::to_owned)
        });
        Some(Self { name: Some(name?) })
    }

    /// The one that compiles the eBPF programs, if there is one that can: the one that was chosen
    /// earlier, or else the active one.
    pub(crate) fn for_bpf(workspace: &Workspace) -> Option<Self> {
        let recorded = fs::read_to_string(workspace.made(RECORD)).ok();
        let recorded = recorded.map(|name| Self {
            name: Some(name.trim().to_owned()),
        });
        // Without rustup there is nothing to choose.
        let recorded = recorded.filter(|_| command::find("rustup").is_some());
        [recorded, Self::active()]
            .into_iter()
            .flatten()
            .find(Self::can_build_core)
    }

    /// Remembers it as the one that compiles the eBPF programs.
    pub(crate) fn record(&self, workspace: &Workspace) -> Result<()> {
        let file = workspace.made(RECORD);
        match &self.name {
            Some(name) => write(&file, &format!("{name}\n")),
            None => Ok(()),
        }
    }

    /// A program of this toolchain.
    pub(crate) fn program(&self, program: &str) -> Command {
        let Some(name) = &self.name else {
            return command::program(program);
        };
        let mut command = command::program("rustup");
        command.args(["run", name, program]);
        command
    }

    /// What its compiler says of itself.
    pub(crate) fn version(&self) -> Result<Version> {
        let printed = command::read(self.program("rustc").arg("-vV"))?;
        Version::parse(&printed)
            .with_context(|| format!("`rustc -vV` prints something new:\n{printed}"))
    }

    /// The directory it lives in.
    pub(crate) fn root(&self) -> Result<PathBuf> {
        let printed = command::read(self.program("rustc").args(["--print", "sysroot"]))?;
        Ok(PathBuf::from(printed.trim()))
    }

    fn can_build_core(&self) -> bool {
        self.root().is_ok_and(|root| root.join(CORE).exists())
            && self
                .version()
                .is_ok_and(|version| is_new_enough(&version.release))
    }

    /// For the user: its name, or that it is the only one.
    fn shown(&self) -> &str {
        self.name
            .as_deref()
            .unwrap_or("the compiler of this machine")
    }
}

/// The sources of core.
pub(super) struct CoreSources;

impl Step for CoreSources {
    fn plan(&self, workspace: &Workspace) -> Result<Option<Plan>> {
        if Toolchain::for_bpf(workspace).is_some() {
            return Ok(None);
        }
        let active = Toolchain::active();
        let shown = active
            .as_ref()
            .map_or("the active toolchain", Toolchain::shown);
        Ok(Some(Plan {
            what: format!("fetch the sources of Rust's core library for {shown}"),
            cost: "4 MB from rustup; where it cannot, 170 MB for the distribution's own Rust",
        }))
    }

    fn act(&self, workspace: &Workspace) -> Result<()> {
        if let Some(Toolchain { name: Some(name) }) = Toolchain::active() {
            let mut add = command::program("rustup");
            match command::run(add.args(["component", "add", "rust-src", "--toolchain", &name])) {
                Ok(()) => return Ok(()),
                Err(error) => println!("setup: {error}; the distribution's Rust takes its place"),
            }
        }
        from_distribution(workspace)
    }
}

/// A compiler that a distribution has, with the packages that belong to it.
#[derive(Debug, PartialEq, Eq)]
struct Family {
    compiler: &'static str,
    others: [&'static str; 3],
}

/// Debian keeps a newer Rust for its browsers beside its own: `rustc-web`.
const FAMILIES: [Family; 2] = [
    Family {
        compiler: "rustc",
        others: ["cargo", "rust-src", "rust-clippy"],
    },
    Family {
        compiler: "rustc-web",
        others: ["cargo-web", "rust-web-src", "rust-web-clippy"],
    },
];

fn from_distribution(workspace: &Workspace) -> Result<()> {
    if !apt::exists() {
        bail!(
            "neither rustup nor apt can give the sources of core: install `rust-src` for this compiler"
        );
    }
    apt::update()?;
    let mut offers = Vec::new();
    for family in FAMILIES {
        if let Some(version) = apt::candidate(family.compiler)? {
            offers.push((family, version));
        }
    }
    let Some(family) = newest(offers) else {
        bail!(
            "this distribution's Rust is older than {}: let rustup fetch `rust-src`, or use a newer release",
            env!("CARGO_PKG_RUST_VERSION")
        );
    };
    let packages = [&[family.compiler], family.others.as_slice()].concat();
    apt::install(&packages)?;
    if command::find("rustup").is_some() {
        command::run(command::program("rustup").args(["toolchain", "link", LINKED, "/usr"]))?;
        Toolchain {
            name: Some(LINKED.to_owned()),
        }
        .record(workspace)?;
    }
    Ok(())
}

/// The family with the newest compiler that is new enough for this workspace.
fn newest(offers: Vec<(Family, String)>) -> Option<Family> {
    let enough = offers
        .into_iter()
        .filter(|(_, version)| is_new_enough(version));
    enough
        .max_by_key(|(_, version)| numbers(version))
        .map(|(family, _)| family)
}

fn is_new_enough(version: &str) -> bool {
    numbers(version) >= numbers(env!("CARGO_PKG_RUST_VERSION"))
}

/// Major and minor number of a compiler.
fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Writes a file, and the directory it is in.
pub(super) fn write(file: &Path, text: &str) -> Result<()> {
    let directory = file.parent().context("a file without a directory")?;
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(file, text))
        .with_context(|| format!("{} cannot be written", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "rustc 1.95.0 (59807616e 2026-04-14)
binary: rustc
commit-hash: 59807616e1fa2540724bfbac14d7976d7e4a3860
commit-date: 2026-04-14
host: x86_64-unknown-linux-gnu
release: 1.95.0
LLVM version: 22.1.2
";

    #[test]
    fn a_compilers_version_is_read() {
        let version = Version::parse(PRINTED).unwrap();
        assert_eq!(version.release, "1.95.0");
        assert_eq!(version.host, "x86_64-unknown-linux-gnu");
        assert_eq!(version.llvm, "22.1.2");
        assert_eq!(version.whole, PRINTED);
    }

    #[test]
    fn a_compiler_that_does_not_tell_its_llvm_is_not_taken() {
        assert_eq!(
            Version::parse(&PRINTED.replace("LLVM version", "Cranelift")),
            None
        );
    }

    #[test]
    fn the_newest_compiler_of_the_distribution_is_chosen() {
        let [own, web] = FAMILIES;
        let bookworm = vec![
            (own, "1.63.0+dfsg1-2".to_owned()),
            (web, "1.96.0+dfsg1-1~deb12u2".to_owned()),
        ];
        assert_eq!(newest(bookworm).unwrap().compiler, "rustc-web");
        let [own, web] = FAMILIES;
        let later = vec![
            (own, "1.100.0+dfsg1-1".to_owned()),
            (web, "1.96.0+dfsg1-1".to_owned()),
        ];
        assert_eq!(newest(later).unwrap().compiler, "rustc");
    }

    #[test]
    fn a_compiler_older_than_the_workspace_asks_for_is_not_chosen() {
        let [own, _] = FAMILIES;
        assert_eq!(newest(vec![(own, "1.63.0+dfsg1-2".to_owned())]), None);
        assert_eq!(newest(Vec::new()), None);
    }

    #[test]
    fn the_workspaces_own_oldest_compiler_is_new_enough_and_a_nightly_is_read() {
        assert!(is_new_enough(env!("CARGO_PKG_RUST_VERSION")));
        assert!(is_new_enough("1.97.0-nightly"));
        assert!(!is_new_enough("1.9.0"));
    }
}
