//! The file system of the virtual machine that runs the fixtures and the checks of attachments: these,
//! the guard and what they call, a shell to start them, and the libraries of all, from this machine;
//! and the modules of the machine's kernel.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::archive::Archive;
use crate::{command, ldd};

const INIT: &str = include_str!("init.sh");
/// What the first process, the fixtures and the checks call.
const PROGRAMS: [&str; 10] = [
    "bpftool",
    "insmod",
    "ip",
    "mount",
    "nsenter",
    "prlimit",
    "setpriv",
    "sh",
    "tc",
    "xdp-loader",
];
/// The program of xdp-tools that is chained before the guard's.
const OTHERS: &str = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_udp.o";
/// What it mounts on, and where the kernel puts the console.
const DIRECTORIES: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// Writes the archive that the kernel unpacks at boot.
pub(super) fn write(image: &Path, built: &[PathBuf], modules: &[PathBuf]) -> Result<()> {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    for program in built {
        let name = program.file_name().unwrap_or_default().display();
        add_program(&mut archive, &format!("bin/{name}"), program)?;
    }
    for name in PROGRAMS {
        let file = command::find(name).with_context(|| format!("this machine has no `{name}`"))?;
        add_program(&mut archive, &format!("bin/{name}"), &file)?;
    }
    // The shell that loads them sorts their names as text.
    for (number, module) in modules.iter().enumerate() {
        archive.program(&format!("modules/{number:02}.ko"), module)?;
    }
    archive.program(OTHERS.trim_start_matches('/'), Path::new(OTHERS))?;
    archive.script("init", INIT);
    let mut output = BufWriter::new(File::create(image)?);
    archive.write(&mut output)?;
    Ok(output.flush()?)
}

/// Adds a program, and its libraries where its loader looks for them.
fn add_program(archive: &mut Archive, name: &str, file: &Path) -> Result<()> {
    for library in ldd::libraries(file)? {
        let place = library.to_str().context("a library's path is not UTF-8")?;
        archive.program(place.trim_start_matches('/'), &library)?;
    }
    archive.program(name, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_libraries_come_with_it() {
        let mut archive = Archive::default();
        add_program(&mut archive, "bin/sh", &command::find("sh").unwrap()).unwrap();
        let names = archive.names();
        assert!(
            names.iter().any(|name| name.contains("libc.so")),
            "{names:?}"
        );
        assert!(names.iter().all(|name| !name.starts_with('/')), "{names:?}");
    }
}
