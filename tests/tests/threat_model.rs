//! The tests that the threat model names for its rows are there.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

/// The rows of the tables of attacks, each with the names in its last column.
fn rows(text: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.filter_map(|row| {
        let (rest, last) = row.trim_end_matches(" |").rsplit_once(" | ")?;
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        Some((rest, names))
    })
    .collect()
}

/// Fails unless `suite`, `suite::module` or either with `::test` is in `tests`.
fn ensure_exists(tests: &Path, name: &str) -> Result<()> {
    let mut parts: Vec<&str> = name.split("::").collect();
    let directory = tests.join(parts[0]);
    let file = tests.join(parts[0]).with_extension("rs");
    if parts.len() == 1 {
        ensure!(directory.is_dir() || file.is_file(), "no suite {name}");
        return Ok(());
    }
    let module = directory.join(parts[1]).with_extension("rs");
    let (file, rest) = match (module.is_file(), file.is_file()) {
        (true, _) => (module, parts.split_off(2)),
        (false, true) => (file, parts.split_off(1)),
        (false, false) => bail!("no module for {name}"),
    };
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    match rest.as_slice() {
        [] => Ok(()),
        [test] => {
            ensure!(text.contains(&format!("fn {test}(")), "no test {name}");
            Ok(())
        }
        _ => bail!("{name} has too many parts"),
    }
}

#[test]
fn every_attack_has_a_test_that_exists() -> Result<()> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = tests.join("../docs/threat-model.md");
    let text = fs::read_to_string(&document)?;
    let attacks = text
        .split("\n## ")
        .filter(|section| section.starts_with("Attacks from"));
    let mut count = 0;
    for section in attacks {
        for (row, names) in rows(section) {
            if row.starts_with("| attack |") || row.starts_with("| ---") {
                continue;
            }
            ensure!(!names.is_empty(), "no test for {row}");
            for name in names {
                ensure_exists(&tests.join("tests"), name)?;
            }
            count += 1;
        }
    }
    ensure!(count > 30, "{count} attacks were found");
    Ok(())
}
