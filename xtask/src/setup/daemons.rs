//! Real time daemons for the tests. They are unpacked and never installed: as packages they
//! exclude one another, and would start, and set the clock.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{Plan, Step};
use crate::{apt, command, workspace::Workspace};

/// The packages, each unpacked into `.toolchain/daemons/PACKAGE`.
const PACKAGES: [&str; 6] = [
    "chrony",
    "libsystemd-shared",
    "ntpsec",
    "ntpsec-ntpdig",
    "openntpd",
    "systemd-timesyncd",
];

/// A program that must run from there.
struct Program {
    path: &'static str,
    /// With these it ends at once.
    arguments: &'static [&'static str],
    /// Its exit code then. Without one of its libraries, a program ends with 127.
    code: i32,
}

const PROGRAMS: [Program; 7] = [
    Program::new("chrony/usr/sbin/chronyd", &["-v"]),
    Program::new("chrony/usr/bin/chronyc", &["-v"]),
    Program::new("ntpsec/usr/sbin/ntpd", &["--version"]),
    // Python, with the modules of the package python3-ntp, which is installed.
    Program::new("ntpsec/usr/bin/ntpq", &["--version"]),
    Program::new("ntpsec-ntpdig/usr/bin/ntpdig", &["--version"]),
    Program::new("openntpd/usr/sbin/ntpd", &["-n", "-f", "/dev/null"]),
    // It takes no arguments, says so, and fails.
    Program {
        code: 1,
        ..Program::new("systemd-timesyncd/lib/systemd/systemd-timesyncd", &["-v"])
    },
];

impl Program {
    const fn new(path: &'static str, arguments: &'static [&'static str]) -> Self {
        Self {
            path,
            arguments,
            code: 0,
        }
    }

    /// What is wrong with it, below `directory`.
    fn failure(&self, directory: &Path) -> Option<String> {
        let mut command = command::program(directory.join(self.path));
        command.args(self.arguments);
        command.env("LD_LIBRARY_PATH", systemd_libraries(directory));
        let shown = command::shown(&command);
        match command.output() {
            Err(error) => Some(format!("`{shown}` does not start: {error}")),
            Ok(output) if output.status.code() == Some(self.code) => None,
            Ok(output) => {
                let complaint = String::from_utf8_lossy(&output.stderr);
                Some(format!(
                    "`{shown}` ended with {}:\n{complaint}",
                    output.status
                ))
            }
        }
    }
}

/// Where the library is that systemd's programs share, which must be of their own version.
fn systemd_libraries(directory: &Path) -> PathBuf {
    let triplet = format!("{}-linux-gnu", env::consts::ARCH);
    directory
        .join("libsystemd-shared/usr/lib")
        .join(triplet)
        .join("systemd")
}

/// The time daemons.
pub(super) struct Daemons;

impl Step for Daemons {
    fn plan(&self, workspace: &Workspace) -> Result<Option<Plan>> {
        if failures(&directory(workspace)).is_empty() {
            return Ok(None);
        }
        let packages = PACKAGES.join(", ");
        Ok(Some(Plan {
            what: format!("unpack {packages} into .toolchain, and install the libraries they need"),
            cost: "3 MB; the daemons themselves are not installed",
        }))
    }

    fn act(&self, workspace: &Workspace) -> Result<()> {
        let directory = directory(workspace);
        ensure!(
            apt::exists(),
            "this machine has no apt: put the programs of {} below {} by hand",
            PACKAGES.join(", "),
            directory.display()
        );
        apt::update()?;
        let files = download(&workspace.made("packages"))?;
        fs::create_dir_all(&directory)?;
        let mut libraries = Vec::new();
        for (package, file) in PACKAGES.iter().zip(&files) {
            let place = directory.join(package);
            apt::unpack(file, &place)?;
            merge_usr(&place)?;
            libraries.extend(
                apt::dependencies(file)?
                    .into_iter()
                    .filter(|name| is_library(name)),
            );
        }
        let libraries: Vec<&str> = libraries.iter().map(String::as_str).collect();
        let missing = apt::missing(&libraries)?;
        if !missing.is_empty() {
            apt::install(&missing)?;
        }
        let failures = failures(&directory);
        ensure!(failures.is_empty(), "{}", failures.join("\n"));
        Ok(())
    }
}

fn directory(workspace: &Workspace) -> PathBuf {
    workspace.made("daemons")
}

/// Fetches the packages afresh and returns their files, in order.
fn download(directory: &Path) -> Result<Vec<PathBuf>> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    apt::download(&PACKAGES, directory)?;
    let files: Vec<_> = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    PACKAGES
        .iter()
        .map(|package| file_of(package, &files))
        .collect()
}

/// The file of a package: `PACKAGE_VERSION_ARCHITECTURE.deb`.
fn file_of(package: &str, files: &[PathBuf]) -> Result<PathBuf> {
    let is = |file: &&PathBuf| {
        let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.split('_').next() == Some(package)
    };
    files
        .iter()
        .find(is)
        .cloned()
        .with_context(|| format!("apt did not download {package}"))
}

/// Has the files of `/usr/lib` in `/lib` as well: distributions moved them there, at their own pace.
fn merge_usr(place: &Path) -> Result<()> {
    let lib = place.join("lib");
    if place.join("usr/lib").exists() && !lib.exists() {
        symlink("usr/lib", &lib).with_context(|| format!("{} cannot be made", lib.display()))?;
    }
    Ok(())
}

/// What a program cannot run without, of all that a package asks for to be installed, and that is
/// not unpacked anyway.
fn is_library(package: &str) -> bool {
    (package.starts_with("lib") || package == "python3-ntp") && !PACKAGES.contains(&package)
}

/// The programs that do not run, with what they say.
fn failures(directory: &Path) -> Vec<String> {
    PROGRAMS
        .iter()
        .filter_map(|program| program.failure(directory))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_not_taken_for_another_whose_name_it_begins() {
        let files = [
            "/p/ntpsec-ntpdig_1.2.2_amd64.deb",
            "/p/ntpsec_1.2.2_amd64.deb",
        ]
        .map(PathBuf::from);
        assert_eq!(file_of("ntpsec", &files).unwrap(), files[1]);
        assert_eq!(file_of("ntpsec-ntpdig", &files).unwrap(), files[0]);
        assert!(
            file_of("chrony", &files)
                .unwrap_err()
                .to_string()
                .contains("chrony")
        );
    }

    #[test]
    fn libraries_are_wanted_and_what_would_set_up_a_service_is_not() {
        let dependencies = [
            "adduser",
            "libcap2",
            "ucf",
            "libseccomp2",
            "libsystemd-shared",
            "python3-ntp",
            "init-system-helpers",
        ];
        let wanted: Vec<_> = dependencies
            .into_iter()
            .filter(|name| is_library(name))
            .collect();
        assert_eq!(wanted, ["libcap2", "libseccomp2", "python3-ntp"]);
    }

    #[test]
    fn a_daemon_that_is_not_there_is_named() {
        let failures = failures(Path::new("/nonexistent"));
        assert_eq!(failures.len(), PROGRAMS.len());
        assert!(
            failures[0].contains("/nonexistent/chrony/usr/sbin/chronyd"),
            "{}",
            failures[0]
        );
    }
}
