//! A cpio archive, which the kernel unpacks at boot. It is not compressed: packing and unpacking
//! would take longer than reading it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::Path,
};

use anyhow::{Context as _, Result};
use cpio::newc::{self, Builder};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const TEXT: u32 = 0o100_644;

/// What an archive is to hold, by path without the first slash.
#[derive(Debug, Default)]
pub(super) struct Archive {
    files: BTreeMap<String, File>,
    directories: BTreeSet<String>,
}

#[derive(Debug)]
struct File {
    mode: u32,
    content: Vec<u8>,
}

impl Archive {
    /// Adds a file of this machine that others may execute.
    pub(super) fn program(&mut self, name: &str, file: &Path) -> Result<()> {
        let content =
            fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        self.add(name, PROGRAM, content);
        Ok(())
    }

    /// Adds a script.
    pub(super) fn script(&mut self, name: &str, content: &str) {
        self.add(name, PROGRAM, content.into());
    }

    /// Adds a file that is only read.
    pub(super) fn text(&mut self, name: &str, content: &str) {
        self.add(name, TEXT, content.into());
    }

    /// Adds an empty directory. Those that files are in are there without this.
    pub(super) fn directory(&mut self, name: &str) {
        self.directories.insert(name.to_owned());
    }

    fn add(&mut self, name: &str, mode: u32, content: Vec<u8>) {
        self.files.insert(name.to_owned(), File { mode, content });
    }

    /// Writes the directories, each after the one it is in, and then the files.
    pub(super) fn write(&self, output: &mut impl Write) -> Result<()> {
        let mut inode = 0;
        let mut entry = |name: &str, mode: u32| {
            inode += 1;
            Builder::new(name).ino(inode).mode(mode)
        };
        for directory in self.all_directories() {
            entry(&directory, DIRECTORY)
                .write(&mut *output, 0)
                .finish()?;
        }
        for (name, File { mode, content }) in &self.files {
            let size =
                u32::try_from(content.len()).with_context(|| format!("{name} is over 4 GB"))?;
            let mut file = entry(name, *mode).write(&mut *output, size);
            file.write_all(content)?;
            file.finish()?;
        }
        newc::trailer(output)?;
        Ok(())
    }

    fn all_directories(&self) -> BTreeSet<String> {
        let parents = self
            .files
            .keys()
            .flat_map(|name| Path::new(name).ancestors().skip(1));
        let parents = parents
            .filter_map(Path::to_str)
            .filter(|parent| !parent.is_empty());
        parents
            .map(str::to_owned)
            .chain(self.directories.iter().cloned())
            .collect()
    }

    /// The paths of the files.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use cpio::newc::Reader;

    use super::*;

    #[test]
    fn every_directory_comes_before_what_is_in_it() {
        let mut archive = Archive::default();
        archive.script("lib/x86/libc.so", "");
        archive.script("init", "");
        archive.directory("dev");
        let directories: Vec<_> = archive.all_directories().into_iter().collect();
        assert_eq!(directories, ["dev", "lib", "lib/x86"]);
    }

    #[test]
    fn an_archive_reads_back_as_it_was_written() {
        let mut archive = Archive::default();
        archive.script("bin/sh", "#!");
        archive.text("init", "");
        let mut bytes = Vec::new();
        archive.write(&mut bytes).unwrap();
        let mut rest = bytes.as_slice();
        let mut entries = Vec::new();
        loop {
            let mut reader = Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            entries.push((
                reader.entry().name().to_owned(),
                reader.entry().mode(),
                content,
            ));
            rest = reader.finish().unwrap();
        }
        let expected = [
            ("bin".to_owned(), DIRECTORY, Vec::new()),
            ("bin/sh".to_owned(), PROGRAM, b"#!".to_vec()),
            ("init".to_owned(), TEXT, Vec::new()),
        ];
        assert_eq!(entries, expected);
    }
}
