//! The file system of the virtual machine: the fixtures and what they call, a shell to start them, and
//! the libraries of all, from this machine; and the modules of the machine's kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use cpio::newc::{self, Builder};

use crate::{command, ldd};

const INIT: &str = include_str!("init.sh");
/// What the first process and the fixtures call.
const PROGRAMS: [&str; 6] = ["insmod", "ip", "mount", "sh", "tc", "xdp-loader"];
/// The program of xdp-tools that is chained before the guard's.
const OTHERS: &str = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_udp.o";
/// What it mounts on, and where the kernel puts the console.
const DIRECTORIES: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Writes the archive that the kernel unpacks at boot. It is not compressed: packing and
/// unpacking would take longer than reading it.
pub(super) fn write(image: &Path, fixtures: &Path, modules: &[PathBuf]) -> Result<()> {
    let mut files = BTreeMap::new();
    add_program(&mut files, "bin/fixtures", fixtures)?;
    for name in PROGRAMS {
        let file = command::find(name).with_context(|| format!("this machine has no `{name}`"))?;
        add_program(&mut files, &format!("bin/{name}"), &file)?;
    }
    for (number, module) in modules.iter().enumerate() {
        files.insert(format!("modules/{number}.ko"), module.clone());
    }
    files.insert(OTHERS.trim_start_matches('/').to_owned(), OTHERS.into());
    let mut contents = BTreeMap::from([("init".to_owned(), INIT.as_bytes().to_vec())]);
    for (name, file) in files {
        let content =
            fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        contents.insert(name, content);
    }
    let mut output = BufWriter::new(File::create(image)?);
    archive(&contents, &mut output)?;
    Ok(output.flush()?)
}

/// Adds a program, and its libraries where its loader looks for them.
fn add_program(files: &mut BTreeMap<String, PathBuf>, name: &str, file: &Path) -> Result<()> {
    for library in ldd::libraries(file)? {
        let place = library.to_str().context("a library's path is not UTF-8")?;
        files.insert(place.trim_start_matches('/').to_owned(), library);
    }
    files.insert(name.to_owned(), file.to_owned());
    Ok(())
}

/// Writes programs with these names and contents, after the directories they are in.
fn archive(contents: &BTreeMap<String, Vec<u8>>, output: &mut impl Write) -> Result<()> {
    let mut inode = 0;
    let mut entry = |name: &str, mode: u32| {
        inode += 1;
        Builder::new(name).ino(inode).mode(mode)
    };
    for directory in directories(contents) {
        entry(&directory, DIRECTORY)
            .write(&mut *output, 0)
            .finish()?;
    }
    for (name, content) in contents {
        let size = u32::try_from(content.len()).with_context(|| format!("{name} is over 4 GB"))?;
        let mut file = entry(name, PROGRAM).write(&mut *output, size);
        file.write_all(content)?;
        file.finish()?;
    }
    newc::trailer(output)?;
    Ok(())
}

/// All directories there have to be, each after the one it is in.
fn directories(contents: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let parents = contents
        .keys()
        .flat_map(|name| Path::new(name).ancestors().skip(1));
    let parents = parents
        .filter_map(Path::to_str)
        .filter(|parent| !parent.is_empty());
    parents
        .map(str::to_owned)
        .chain(DIRECTORIES.map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use cpio::newc::Reader;

    use super::*;

    #[test]
    fn every_directory_comes_before_what_is_in_it() {
        let contents = ["lib/x86/libc.so", "init"].map(|name| (name.to_owned(), Vec::new()));
        let directories: Vec<_> = directories(&contents.into()).into_iter().collect();
        assert_eq!(
            directories,
            ["dev", "lib", "lib/x86", "proc", "run", "sys", "tmp"]
        );
    }

    #[test]
    fn an_archive_reads_back_as_it_was_written() {
        let contents = BTreeMap::from([
            ("bin/sh".to_owned(), b"#!".to_vec()),
            ("init".to_owned(), Vec::new()),
        ]);
        let mut bytes = Vec::new();
        archive(&contents, &mut bytes).unwrap();
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
        assert_eq!(entries[0], ("bin".to_owned(), DIRECTORY, Vec::new()));
        assert!(entries.contains(&("bin/sh".to_owned(), PROGRAM, b"#!".to_vec())));
        assert!(entries.contains(&("init".to_owned(), PROGRAM, Vec::new())));
        assert_eq!(entries.len(), 6 + 2);
    }

    #[test]
    fn a_programs_libraries_come_with_it() {
        let mut files = BTreeMap::new();
        add_program(&mut files, "bin/sh", &command::find("sh").unwrap()).unwrap();
        assert!(
            files.keys().any(|name| name.contains("libc.so")),
            "{files:?}"
        );
        assert!(files.keys().all(|name| !name.starts_with('/')), "{files:?}");
    }
}
