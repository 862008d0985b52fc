//! `cargo xtask words`: documentation and program texts use the field's terms.
//!
//! Checked are the pages of documentation, and what the program prints: the string literals of
//! `ntpguard/src` and the documentation comments that clap shows as help. Comments and names are not.

mod markdown;
mod rust;
mod terms;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use self::terms::Hit;
use crate::workspace::Workspace;

/// Find words of private vocabulary in the documentation and in the texts of the program
#[derive(Debug, clap::Args)]
pub(crate) struct Options {}

/// A text, and where it begins.
#[derive(Debug, PartialEq, Eq)]
struct Text {
    /// Counted from 1.
    line: usize,
    text: String,
}

/// Runs the subcommand. Prints each hit, and fails if there is one.
pub(crate) fn execute(workspace: &Workspace) -> Result<()> {
    let root = workspace.root();
    let mut count = 0;
    for page in pages(root)? {
        count += report(root, &page, &markdown::texts(&read(&page)?));
    }
    for (file, texts) in program_texts(&root.join("ntpguard/src"))? {
        count += report(root, &file, &texts);
    }
    ensure!(
        count == 0,
        "{count} words that readers do not know: use those above, or add an exception with its reason \
         to xtask/src/words/terms.rs"
    );
    Ok(())
}

/// Prints the hits in the texts of one file, and counts them.
fn report(root: &Path, file: &Path, texts: &[Text]) -> usize {
    let file = file.strip_prefix(root).unwrap_or(file);
    let hits = texts.iter().flat_map(|text| terms::hits(text, file));
    hits.inspect(|Hit { line, word, better }| {
        println!("{}:{line}: \"{word}\": {better}", file.display());
    })
    .count()
}

/// The pages of documentation: those at the root of the checkout, and those in `docs`.
fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = entries(root)?;
    pages.retain(|path| has_extension(path, "md"));
    pages.extend(files(&root.join("docs"), "md")?);
    Ok(pages)
}

/// The texts of each source file that is not a test's.
fn program_texts(directory: &Path) -> Result<Vec<(PathBuf, Vec<Text>)>> {
    let mut all = Vec::new();
    let mut tests = BTreeSet::new();
    for file in files(directory, "rs")? {
        let found = rust::texts(&read(&file)?)
            .with_context(|| format!("cannot read {} as Rust", file.display()))?;
        let modules = modules_of(&file);
        for name in &found.test_modules {
            tests.insert(modules.join(name));
            tests.insert(modules.join(name).with_extension("rs"));
        }
        all.push((file, found.texts));
    }
    all.retain(|(file, _)| !file.ancestors().any(|path| tests.contains(path)));
    Ok(all)
}

/// The directory of the modules that a source file declares.
fn modules_of(file: &Path) -> PathBuf {
    let is_root = ["lib.rs", "main.rs", "mod.rs"]
        .iter()
        .any(|name| file.ends_with(name));
    if is_root {
        file.parent().unwrap_or(file).to_owned()
    } else {
        file.with_extension("")
    }
}

/// The files below a directory whose names end so, in order.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in entries(directory)? {
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if has_extension(&path, extension) {
            found.push(path);
        }
    }
    Ok(found)
}

/// What is in a directory, in order.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let paths = fs::read_dir(directory).and_then(|entries| {
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        paths.collect::<Result<Vec<_>, _>>()
    });
    let mut paths = paths.with_context(|| format!("cannot read {}", directory.display()))?;
    paths.sort();
    Ok(paths)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|end| end == extension)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_beside_a_root_and_below_any_other_file() {
        assert_eq!(modules_of(Path::new("src/lib.rs")), Path::new("src"));
        assert_eq!(modules_of(Path::new("src/a/mod.rs")), Path::new("src/a"));
        assert_eq!(modules_of(Path::new("src/a.rs")), Path::new("src/a"));
    }

    /// The pages of this checkout, and some texts of the program that are known to be there.
    #[test]
    fn pages_and_texts_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let pages = pages(&root).unwrap();
        assert!(pages.iter().any(|page| page.ends_with("README.md")));
        assert!(pages.iter().any(|page| page.ends_with("docs/operation.md")));
        assert!(
            pages
                .iter()
                .any(|page| page.ends_with("docs/decisions/README.md"))
        );

        let texts = program_texts(&root.join("ntpguard/src")).unwrap();
        let says = |what: &str| {
            let mut texts = texts.iter().flat_map(|(_, texts)| texts);
            texts.any(|text| text.text.contains(what))
        };
        assert!(says("An XDP guard for NTP"), "the help");
        assert!(says("etc/chrony/chrony.conf"), "the literals");
        let of_tests = |file: &Path| file.components().any(|part| part.as_os_str() == "tests");
        assert!(!texts.iter().any(|(file, _)| of_tests(file)));
    }
}
