//! What is added to a system's own files at each boot: the guard, the checks and the unit that runs
//! them. The kernel unpacks it after them and over them, so that the image is not packed again.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufWriter, Seek as _, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    command, ldd,
    vm::{archive::Archive, stripped},
    workspace::Workspace,
};

/// The unit that runs the checks.
pub(super) const UNIT: &str = "ntpguard-vm.service";
const UNIT_FILE: &str = include_str!("ntpguard-vm.service");
/// Where everything else is, out of the way of the system's own files.
const PLACE: &str = "opt/ntpguard";
/// The guard and the checks, by package.
const PROGRAMS: [(&str, &str); 2] = [("ntpguard", "ntpguard"), ("ntpguard-tests", "system")];

/// Writes the files of a system, and this after them.
pub(super) fn write(workspace: &Workspace, system: &Path, initramfs: &Path) -> Result<()> {
    let overlay = overlay(workspace)?;
    fs::copy(system, initramfs)
        .with_context(|| format!("{} cannot be copied", system.display()))?;
    let mut file = File::options().append(true).open(initramfs)?;
    let length = file.seek(io::SeekFrom::End(0))?;
    // An archive begins at a multiple of four bytes.
    file.write_all(&vec![
        0;
        length.next_multiple_of(4).abs_diff(length) as usize
    ])?;
    let mut output = BufWriter::new(file);
    overlay.write(&mut output)?;
    Ok(output.flush()?)
}

fn overlay(workspace: &Workspace) -> Result<Archive> {
    let mut archive = Archive::default();
    archive.text(&format!("etc/systemd/system/{UNIT}"), UNIT_FILE);
    for (package, name) in PROGRAMS {
        let program = stripped(workspace, package, name)?;
        let libraries = ldd::libraries(&program)?;
        use_own_libraries(&program, &libraries)?;
        archive.program(&format!("{PLACE}/bin/{name}"), &program)?;
        for library in libraries {
            archive.program(&own(&library)?, &library)?;
        }
    }
    Ok(archive)
}

/// Has a program use the libraries beside it: the system's may be older than this machine's.
fn use_own_libraries(program: &Path, libraries: &[PathBuf]) -> Result<()> {
    let is_loader = |file: &&PathBuf| name(file).is_some_and(|name| name.starts_with("ld-"));
    let loader = libraries
        .iter()
        .find(is_loader)
        .with_context(|| format!("{} has no loader", program.display()))?;
    let mut patch = command::program("patchelf");
    patch.args(["--set-interpreter", &format!("/{}", own(loader)?)]);
    // Also where a library looks for others.
    patch.args(["--force-rpath", "--set-rpath", &format!("/{PLACE}/lib")]);
    command::run(patch.arg(program))
}

/// The place of a library in the archive.
fn own(library: &Path) -> Result<String> {
    let name = name(library).context("a library's name is not UTF-8")?;
    Ok(format!("{PLACE}/lib/{name}"))
}

fn name(file: &Path) -> Option<&str> {
    file.file_name().and_then(OsStr::to_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_starts_the_checks_where_they_are_put() {
        let (_, checks) = PROGRAMS[1];
        let line = format!("ExecStart=/{PLACE}/bin/{checks}");
        assert!(UNIT_FILE.lines().any(|found| found == line), "{UNIT_FILE}");
    }

    /// In the system `/lib` is a symbolic link, and a directory of that name would replace it.
    #[test]
    fn libraries_are_put_into_a_directory_of_our_own() {
        let place = own(Path::new("/lib/x86_64-linux-gnu/libc.so.6")).unwrap();
        assert_eq!(place, "opt/ntpguard/lib/libc.so.6");
    }
}
