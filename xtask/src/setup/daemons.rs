//! Real time daemons for the tests. They are unpacked and never installed: as packages they
//! exclude one another, and would start, and set the clock.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{Plan, Step};
use crate::{apt, command, workspace::Workspace};

/// The packages, each unpacked into `.toolchain/daemons/PACKAGE`.
const PACKAGES: [&str; 3] = ["chrony", "ntpsec", "ntpsec-ntpdig"];
/// The programs that must run from there, and how each tells its version.
const PROGRAMS: [(&str, &str); 5] = [
    ("chrony/usr/sbin/chronyd", "-v"),
    ("chrony/usr/bin/chronyc", "-v"),
    ("ntpsec/usr/sbin/ntpd", "--version"),
    // Python, with the modules of the package python3-ntp, which is installed.
    ("ntpsec/usr/bin/ntpq", "--version"),
    ("ntpsec-ntpdig/usr/bin/ntpdig", "--version"),
];

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
            cost: "1 MB; the daemons themselves are not installed",
        }))
    }

    fn act(&self, workspace: &Workspace) -> Result<()> {
        let directory = directory(workspace);
        ensure!(
            apt::exists(),
            "this machine has no apt: put chrony's and NTPsec's programs below {} by hand",
            directory.display()
        );
        apt::update()?;
        let files = download(&workspace.made("packages"))?;
        fs::create_dir_all(&directory)?;
        let mut libraries = Vec::new();
        for (package, file) in PACKAGES.iter().zip(&files) {
            apt::unpack(file, &directory.join(package))?;
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

/// What a program cannot run without, of all that a package asks for to be installed.
fn is_library(package: &str) -> bool {
    package.starts_with("lib") || package == "python3-ntp"
}

/// The programs that do not run, with what they say.
fn failures(directory: &Path) -> Vec<String> {
    let try_one = |(program, argument): &(&str, &str)| {
        command::read(command::program(directory.join(program)).arg(argument)).err()
    };
    PROGRAMS
        .iter()
        .filter_map(try_one)
        .map(|error| format!("{error:#}"))
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
