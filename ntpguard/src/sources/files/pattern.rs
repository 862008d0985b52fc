//! File names with wildcards, as glob(3) has them.

use std::{
    ffi::OsStr,
    path::{Component, Path, PathBuf},
};

use glob::{MatchOptions, Pattern, PatternError};

use super::{FileError, Files, Looks};
use crate::sources::Library as _;

/// What a pattern finds, and the directories that could not be looked into.
#[derive(Debug, Default)]
pub struct Matches {
    /// The paths, in order.
    pub found: Vec<PathBuf>,
    /// The directories that could not be looked into.
    pub unreadable: Vec<(PathBuf, FileError)>,
}

impl Files {
    /// The paths that `pattern` finds, in order, and no more than `most` of them.
    pub(super) fn find_all(
        &self,
        pattern: &Path,
        most: usize,
        looks: &Looks,
    ) -> Result<Matches, PatternError> {
        let mut matches = Matches::default();
        let mut paths = vec![PathBuf::new()];
        for component in pattern.components() {
            if is_pattern(&component) {
                let names = compile(component.as_os_str())?;
                let below = paths.iter().flat_map(|directory| {
                    self.matching(directory, &names, looks, &mut matches.unreadable)
                });
                paths = below.take(most).collect();
            } else {
                for path in &mut paths {
                    path.push(component);
                }
            }
        }
        paths.retain(|path| looks.take() && self.exists(path));
        matches.found = paths;
        Ok(matches)
    }

    /// The entries of a directory whose names match, in order.
    fn matching(
        &self,
        directory: &Path,
        pattern: &Pattern,
        looks: &Looks,
        unreadable: &mut Vec<(PathBuf, FileError)>,
    ) -> Vec<PathBuf> {
        let here = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        };
        let mut names = match self.names(here, looks) {
            Ok(names) => names,
            Err(FileError::Missing) => Vec::new(),
            Err(error) => {
                unreadable.push((directory.to_owned(), error));
                Vec::new()
            }
        };
        names.retain(|name| {
            let name = name.to_str();
            name.is_some_and(|name| pattern.matches_with(name, LIKE_GLOB_3))
        });
        names.sort_unstable();
        names.iter().map(|name| directory.join(name)).collect()
    }
}

const LIKE_GLOB_3: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

fn compile(text: &OsStr) -> Result<Pattern, PatternError> {
    let mut text = text.to_string_lossy().into_owned();
    // To glob(3) two stars are one.
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    Pattern::new(&text)
}

/// The directory that a pattern's first wildcard searches.
pub(in super::super) fn directory_of_pattern(pattern: &Path) -> PathBuf {
    let fixed = pattern
        .components()
        .take_while(|component| !is_pattern(component));
    let directory: PathBuf = fixed.collect();
    if directory == pattern {
        directory.parent().map(Path::to_owned).unwrap_or_default()
    } else {
        directory
    }
}

fn is_pattern(component: &Component<'_>) -> bool {
    has_wildcard(&component.as_os_str().to_string_lossy())
}

/// Whether glob(3) would search for `text` and not just take it.
pub(in super::super) fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_searches_the_directory_before_its_first_wildcard() {
        for (pattern, directory) in [
            ("/etc/c/*.conf", "/etc/c"),
            ("/etc/*/x.conf", "/etc"),
            ("/etc/c/x.conf", "/etc/c"),
        ] {
            assert_eq!(
                directory_of_pattern(Path::new(pattern)),
                Path::new(directory)
            );
        }
    }
}
