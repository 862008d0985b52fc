//! How large files and folders may be.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The most lines of a file.
const LINES: usize = 450;
/// The most files of a folder, beside its subfolders.
const FILES: usize = 14;

/// Folders without sources of this project.
const SKIPPED: [&str; 4] = [".git", ".toolchain", "target", "artifacts"];
/// Folders of data and records, one file each of many of a kind.
const DATA: [&str; 3] = ["decisions", "performance", "seeds"];

/// The files and folders that are too large, each with what to say of it.
pub(super) fn findings(root: &Path) -> Result<Vec<(String, String)>> {
    let mut findings = Vec::new();
    walk(root, root, &mut findings)?;
    Ok(findings)
}

fn walk(root: &Path, directory: &Path, findings: &mut Vec<(String, String)>) -> Result<()> {
    let (folders, files): (Vec<_>, Vec<_>) = entries(directory)?
        .into_iter()
        .partition(|entry| entry.is_dir());
    let shown = |path: &Path| {
        path.strip_prefix(root)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    let is_source = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "rs");
    for file in files.iter().filter(is_source) {
        let text = fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        let lines = text.lines().count();
        if lines > LINES {
            let complaint = format!("{}: {lines} lines, and {LINES} are the most", shown(file));
            findings.push((shown(file), complaint));
        }
    }
    if files.len() > FILES && directory != root {
        let (shown, count) = (shown(directory), files.len());
        let complaint = format!("{shown}/: {count} files, and {FILES} are the most");
        findings.push((shown, complaint));
    }
    let is_ours = |folder: &&PathBuf| {
        let name = folder.file_name().unwrap_or_default();
        !SKIPPED.iter().chain(&DATA).any(|skipped| name == *skipped)
    };
    folders
        .iter()
        .filter(is_ours)
        .try_for_each(|folder| walk(root, folder, findings))
}

/// What is in a directory, in order; nothing if there is none.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let mut entries = match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.with_context(|| format!("{} cannot be read", directory.display()))?,
    };
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_one_too_large_is_found_and_what_is_just_small_enough_is_not() {
        let root = std::env::temp_dir().join(format!("ntpguard-layout-{}", std::process::id()));
        let folder = root.join("folder");
        fs::create_dir_all(folder.join("below")).unwrap();
        for number in 0..FILES {
            fs::write(folder.join(format!("{number}.rs")), "\n".repeat(LINES)).unwrap();
        }
        assert_eq!(findings(&root).unwrap(), []);
        fs::write(folder.join("long.rs"), "\n".repeat(LINES + 1)).unwrap();
        let found: Vec<_> = findings(&root)
            .unwrap()
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert_eq!(found, ["folder/long.rs", "folder"]);
        fs::remove_dir_all(&root).unwrap();
    }
}
