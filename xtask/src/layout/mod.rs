//! `cargo xtask layout`: the rules of the tree of files, which are those of `CONTRIBUTING.md`.

mod circles;
mod imports;
mod known;
mod modules;
mod sizes;
mod tokens;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    slice,
};

use anyhow::{Context as _, Result, ensure};

use self::{
    circles::circles,
    modules::{Edge, Modules},
};
use crate::workspace::Workspace;

/// Check the tree of files: no import in a circle, none that runs back up, no file or folder too large
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

/// The rooms that drive all others, and that no other may import.
const DRIVERS: [&str; 2] = ["cli", "daemon"];
/// The library that has them.
const LIBRARY: &str = "ntpguard/src/lib.rs";

/// Runs the subcommand.
pub(crate) fn execute(workspace: &Workspace) -> Result<()> {
    let findings = findings(workspace.root())?;
    for finding in &findings {
        println!("- {finding}");
    }
    ensure!(
        findings.is_empty(),
        "the tree of files breaks {} of the rules of CONTRIBUTING.md: they are listed above",
        findings.len()
    );
    println!("layout: no new circle, no import that runs back up, nothing too large");
    Ok(())
}

/// What breaks a rule, and what is listed as known and does not break it.
fn findings(root: &Path) -> Result<Vec<String>> {
    let mut findings = import_findings(root)?;
    let mut known = HashSet::new();
    for (path, complaint) in sizes::findings(root)? {
        if known::LARGE.iter().any(|large| large.path == path) {
            known.insert(path);
        } else {
            findings.push(complaint);
        }
    }
    let gone = known::LARGE
        .iter()
        .filter(|large| !known.contains(large.path));
    findings.extend(gone.map(|large| stale(large.path, "is not too large", large.reason)));
    Ok(findings)
}

fn import_findings(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let mut is_found = vec![false; known::CIRCLES.len()];
    for (name, path) in crates(root)? {
        let mut edges = Modules::read(&path)?.edges();
        for edge in &mut edges {
            edge.file = edge
                .file
                .strip_prefix(root)
                .unwrap_or(&edge.file)
                .to_owned();
        }
        for circle in circles(&edges) {
            let parent = [slice::from_ref(&name), &circle.parent[..]]
                .concat()
                .join("::");
            let is_it = |known: &known::Circle| {
                known.parent == parent && circle.members.iter().eq(known.members)
            };
            match known::CIRCLES.iter().position(is_it) {
                Some(place) => is_found[place] = true,
                None => findings.push(format!("{parent}: {circle}")),
            }
        }
        if path.ends_with(LIBRARY) {
            findings.extend(edges.iter().filter(|edge| runs_back(edge)).map(shown));
        }
    }
    let gone = known::CIRCLES
        .iter()
        .zip(is_found)
        .filter(|(_, found)| !found);
    findings.extend(gone.map(|(circle, _)| {
        let what = format!("{}::{{{}}}", circle.parent, circle.members.join(", "));
        stale(&what, "is no circle", circle.reason)
    }));
    Ok(findings)
}

fn stale(what: &str, state: &str, reason: &str) -> String {
    format!("{what} {state} now: take it from xtask/src/layout/known.rs, which says \"{reason}\"")
}

fn runs_back(edge: &Edge) -> bool {
    let is_driver =
        |name: Option<&String>| name.is_some_and(|name| DRIVERS.contains(&name.as_str()));
    is_driver(edge.to.first()) && !is_driver(edge.from.first())
}

fn shown(edge: &Edge) -> String {
    let (from, to) = (edge.from.join("::"), edge.to.join("::"));
    format!(
        "{from} -> {to} runs back up: {}:{}",
        edge.file.display(),
        edge.line
    )
}

/// The crates of the workspace, each with the file that it begins in.
fn crates(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut crates = Vec::new();
    for package in [
        "ntpguard-common",
        "ntpguard-ebpf",
        "ntpguard",
        "tests",
        "xtask",
    ] {
        let directory = root.join(package);
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| directory.join(file));
        crates.extend(
            roots
                .into_iter()
                .filter(|file| file.exists())
                .map(|file| (package.to_owned(), file)),
        );
        for group in ["src/bin", "tests"] {
            for entry in sizes::entries(&directory.join(group))? {
                let main = if entry.is_dir() {
                    entry.join("main.rs")
                } else {
                    entry
                };
                if main.exists() && main.extension().is_some_and(|extension| extension == "rs") {
                    let name = main
                        .strip_prefix(root)
                        .context("a file outside the checkout")?;
                    crates.push((name.display().to_string(), main));
                }
            }
        }
    }
    Ok(crates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str) -> Edge {
        let name = |path: &str| path.split("::").map(str::to_owned).collect();
        Edge {
            from: name(from),
            to: name(to),
            file: PathBuf::from("a.rs"),
            line: 1,
        }
    }

    #[test]
    fn only_drivers_import_drivers() {
        assert!(runs_back(&edge("sources::chrony", "daemon::control")));
        assert!(!runs_back(&edge("daemon::start", "daemon::control")));
        assert!(!runs_back(&edge("cli::run", "daemon::start")));
        assert!(!runs_back(&edge("daemon::start", "sources")));
    }

    #[test]
    fn every_crate_of_the_workspace_is_looked_at() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let names: Vec<_> = crates(&root)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        for name in ["ntpguard-common", "ntpguard-ebpf", "tests", "xtask"] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
        assert_eq!(names.iter().filter(|name| *name == "ntpguard").count(), 2);
        assert!(names.iter().any(|name| name.starts_with("tests/tests/")));
    }
}
