//! Packages of Debian and its descendants.

use std::{collections::HashSet, ffi::OsStr, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::command;

/// Whether this machine has apt.
pub(crate) fn exists() -> bool {
    command::find("apt-get").is_some() && command::find("dpkg").is_some()
}

/// Those of `packages` that are not installed.
pub(crate) fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    // dpkg-query fails when it does not know one of them, and tells of the others.
    let output = command::program("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\\n"])
        .args(packages)
        .output()
        .context("`dpkg-query` does not start")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let installed = installed(&printed);
    Ok(packages
        .iter()
        .copied()
        .filter(|package| !installed.contains(package))
        .collect())
}

fn installed(printed: &str) -> HashSet<&str> {
    printed
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect()
}

/// Brings the lists of packages up to date. A repository that does not answer is not the end: what
/// it should have given is missed later, by name.
pub(crate) fn update() -> Result<()> {
    let mut update = command::as_root("apt-get")?;
    if let Err(error) = command::run(update.args(["-q", "update"])) {
        eprintln!("warning: {error:#}");
    }
    Ok(())
}

/// Installs packages, without those they merely recommend, and asks nothing.
pub(crate) fn install<S: AsRef<OsStr>>(packages: &[S]) -> Result<()> {
    let mut install = command::as_root("env")?;
    install.args([
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-q",
        "-y",
        "--no-install-recommends",
    ]);
    command::run(
        install
            .args(["-o", "Dpkg::Use-Pty=0", "install"])
            .args(packages),
    )
}

/// Downloads packages into a directory, and installs nothing.
pub(crate) fn download(packages: &[&str], directory: &Path) -> Result<()> {
    let mut download = command::program("apt-get");
    // Root's apt downloads as a user of its own, who may not write here.
    download
        .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
        .args(packages);
    command::run(download.current_dir(directory))
}

/// Puts the files of a package below a directory. Nothing of it is run.
pub(crate) fn unpack(package: &Path, directory: &Path) -> Result<()> {
    command::run(
        command::program("dpkg-deb")
            .arg("-x")
            .args([package, directory]),
    )
}

/// The names of the packages that a package file depends on, the first of each set of alternatives.
pub(crate) fn dependencies(package: &Path) -> Result<Vec<String>> {
    let field = command::read(
        command::program("dpkg-deb")
            .arg("-f")
            .arg(package)
            .arg("Depends"),
    )?;
    Ok(names(&field))
}

fn names(field: &str) -> Vec<String> {
    let name = |entry: &str| {
        entry
            .split(['|', '(', ':'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    field
        .split(',')
        .map(name)
        .filter(|name| !name.is_empty())
        .collect()
}

/// The version of a package that apt would install.
pub(crate) fn candidate(package: &str) -> Result<Option<String>> {
    let printed = command::read(
        command::program("apt-cache")
            .env("LC_ALL", "C")
            .args(["policy", package]),
    )?;
    Ok(candidate_in(&printed))
}

fn candidate_in(policy: &str) -> Option<String> {
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// The address of the mirror that this machine's apt takes Debian from.
pub(crate) fn debian_mirror() -> Result<String> {
    let format = "$(ORIGIN)|$(LABEL)|$(CREATED_BY)|$(REPO_URI)";
    let mut query = command::program("apt-get");
    let printed = command::read(query.args(["indextargets", "--format", format]))?;
    match debian_mirror_in(&printed) {
        Some(mirror) => Ok(mirror.to_owned()),
        None => bail!("no Debian repository in this machine's apt sources"),
    }
}

fn debian_mirror_in(targets: &str) -> Option<&str> {
    targets
        .lines()
        .find_map(|line| line.strip_prefix("Debian|Debian|Packages|"))
}

/// An apt command with a configuration of its own on top of the machine's.
pub(crate) fn with_configuration(program: &str, configuration: &Path) -> Command {
    let mut command = command::program(program);
    command.arg("-c").arg(configuration);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_that_are_whole_count_as_installed() {
        let printed =
            "ethtool installed\nchrony config-files\nkmod half-configured\nbpftool installed\n";
        assert_eq!(installed(printed), HashSet::from(["ethtool", "bpftool"]));
    }

    #[test]
    fn dependencies_lose_their_versions_architectures_and_alternatives() {
        let field =
            "adduser, libcap2 (>= 1:2.10), python3:any, iproute2 | net-tools, libedit2 (>= 2.11)\n";
        assert_eq!(
            names(field),
            ["adduser", "libcap2", "python3", "iproute2", "libedit2"]
        );
        assert!(names("\n").is_empty());
    }

    #[test]
    fn a_candidate_is_read_and_none_is_none() {
        let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n";
        assert_eq!(
            candidate_in(policy).as_deref(),
            Some("1.96.0+dfsg1-1~deb12u2")
        );
        assert_eq!(
            candidate_in("rustc:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(candidate_in(""), None);
    }

    #[test]
    fn the_mirror_is_debians_own_and_neither_the_security_one_nor_a_strangers() {
        let targets = "|nodistro|Packages|https://example.com/node/
Debian|Debian-Security|Packages|http://example.net/security/
Debian|Debian|DEP-11|http://example.net/metadata/
Debian|Debian|Packages|http://example.net/debian/
";
        assert_eq!(
            debian_mirror_in(targets),
            Some("http://example.net/debian/")
        );
        assert_eq!(
            debian_mirror_in("Ubuntu|Ubuntu|Packages|http://example.net/ubuntu/\n"),
            None
        );
    }
}
