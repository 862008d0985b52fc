//! Puts the figures into a document, between marks that this leaves there.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{Results, plots, tables};

const BEGIN: &str = "<!-- The figures of `cargo xtask bench --docs`, from here… -->\n";
const END: &str = "<!-- …to here. -->\n";

/// Where the pictures go, relative to the document.
const PICTURES: &str = "performance";

/// Replaces the figures in the document at `path` by these.
pub(crate) fn update(path: &Path, results: &Results) -> Result<()> {
    let directory = path
        .parent()
        .context("a document in no directory")?
        .join(PICTURES);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let figures = figures(results, &plots::all(results, &directory)?)?;
    let old =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let new = replaced(&old, &figures)
        .with_context(|| format!("{} lacks the marks for figures", path.display()))?;
    fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))
}

fn figures(results: &Results, pictures: &[&str]) -> Result<String> {
    let machine = &results.machine;
    let mut text = format!(
        "\n`{}` on {} ({} CPUs), Linux {}; the load before was {}.\n",
        machine.command, machine.processor, machine.cpus, machine.kernel, machine.load
    );
    for table in tables::all(results) {
        write!(text, "\n### {}\n\n{}\n", table.title, table.markdown())?;
        if let Some(picture) = table.picture.filter(|picture| pictures.contains(picture)) {
            write!(text, "\n![{}]({PICTURES}/{picture})\n", table.title)?;
        }
    }
    text.push('\n');
    Ok(text)
}

/// `old` with other text between the marks, if it has them.
fn replaced(old: &str, figures: &str) -> Option<String> {
    let (before, rest) = old.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some([before, BEGIN, figures, END, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let old = format!("before\n{BEGIN}old\n{END}after\n");
        let new = replaced(&old, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}new\n{END}after\n"));
        assert_eq!(replaced("no marks\n", "new\n"), None);
    }
}
