//! The modules of a crate, and which of them import which.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    slice,
};

use anyhow::{Context as _, Result};

use super::imports::{File, Import};

/// The names from the crate's root, which itself has none.
pub(super) type Name = Vec<String>;

/// The longest chain of re-exports that is followed: imports that name each other have no end.
const CHAIN: usize = 16;

/// The modules of a crate that live in files.
#[derive(Debug, Default)]
pub(super) struct Modules {
    files: BTreeMap<Name, (PathBuf, File)>,
}

/// A module imports from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: Name,
    pub(super) to: Name,
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

impl Modules {
    /// Reads the crate whose root is this file.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut modules = Self::default();
        let directory = root.parent().context("a file without a directory")?;
        modules.add(Name::new(), root, directory)?;
        Ok(modules)
    }

    fn add(&mut self, name: Name, path: &Path, directory: &Path) -> Result<()> {
        let source = fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let file = File::read(&source);
        for child in &file.modules {
            let below = directory.join(child);
            let beside = directory.join(format!("{child}.rs"));
            let path = if beside.exists() {
                beside
            } else {
                below.join("mod.rs")
            };
            self.add([&name[..], slice::from_ref(child)].concat(), &path, &below)?;
        }
        self.files.insert(name, (path.to_owned(), file));
        Ok(())
    }

    /// Each import from within the crate.
    pub(super) fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (from, (file, contents)) in &self.files {
            for import in &contents.imports {
                if let Some(to) = self.resolve(from, &import.path, CHAIN) {
                    let (from, file, line) = (from.clone(), file.clone(), import.line);
                    edges.push(Edge {
                        from,
                        to,
                        file,
                        line,
                    });
                }
            }
        }
        edges
    }

    /// The module that has what a path within the module `from` leads to; none if it leads out of
    /// the crate.
    fn resolve(&self, from: &[String], path: &[String], chain: usize) -> Option<Name> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => Name::new(),
            "self" => from.to_vec(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            _ => return self.named(from, path, chain),
        };
        if rest.first().is_some_and(|next| next == "super") {
            return self.resolve(&start, rest, chain);
        }
        // What is not a module, nor imported, is defined there.
        Some(self.named(&start, rest, chain).unwrap_or(start))
    }

    /// As `resolve`, of a path that begins with a name in a module.
    fn named(&self, within: &[String], path: &[String], chain: usize) -> Option<Name> {
        let (first, rest) = path.split_first()?;
        let child = [within, slice::from_ref(first)].concat();
        if self.files.contains_key(&child) {
            return Some(self.named(&child, rest, chain).unwrap_or(child));
        }
        let chain = chain.checked_sub(1)?;
        let imports = &self.files.get(within)?.1.imports;
        let is = |import: &&Import, name: &str| import.name.as_deref() == Some(name);
        if let Some(import) = imports.iter().find(|import| is(import, first)) {
            // `use a::a` where `a` is a module of another crate.
            let follows_itself = import.path.first() == Some(first) && import.path.len() == 1;
            let whole = [&import.path, rest].concat();
            return (!follows_itself).then(|| self.resolve(within, &whole, chain))?;
        }
        let globs = imports.iter().filter(|import| is(import, "*"));
        globs
            .filter_map(|import| self.resolve(within, &import.path, chain))
            .find_map(|module| self.named(&module, path, chain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)]) -> Modules {
        let split = |name: &str| {
            name.split("::")
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Modules {
            files: files
                .iter()
                .map(|(name, source)| (split(name), (PathBuf::from(name), File::read(source))))
                .collect(),
        }
    }

    fn targets(modules: &Modules, from: &str) -> Vec<String> {
        let edges = modules.edges().into_iter();
        edges
            .filter(|edge| edge.from.join("::") == from)
            .map(|edge| edge.to.join("::"))
            .collect()
    }

    #[test]
    fn an_import_leads_to_the_module_that_defines_it() {
        let modules = modules(&[
            ("", "mod a; mod b;"),
            ("a", "mod c; pub use c::Thing; pub struct Own;"),
            ("a::c", "use super::Own; use std::fmt;"),
            (
                "b",
                "use crate::a::{Own, Thing}; fn f() { super::a::c::g() }",
            ),
        ]);
        assert_eq!(targets(&modules, "a::c"), ["a"]);
        assert_eq!(targets(&modules, "b"), ["a", "a::c", "a::c"]);
    }

    #[test]
    fn what_is_taken_whole_is_looked_through() {
        let modules = modules(&[
            ("", "mod a; mod b; pub use a::*;"),
            ("a", "mod c; pub use c::Thing;"),
            ("a::c", ""),
            ("b", "use crate::Thing;"),
        ]);
        assert_eq!(targets(&modules, "b"), ["a::c"]);
    }

    #[test]
    fn imports_that_name_each_other_end() {
        let modules = modules(&[("", "mod a; use a::X;"), ("a", "use super::X;")]);
        assert!(targets(&modules, "a").len() <= 1);
    }
}
