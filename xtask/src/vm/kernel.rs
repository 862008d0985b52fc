//! Distributions' kernels, fetched from the mirror that this machine's apt already uses. apt runs
//! with lists and a cache of its own, so that the machine's stay as they are.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{apt, command, workspace::Workspace};

/// A kernel's first two numbers, and the Debian release that has it.
const KERNELS: [(&str, &str); 3] = [
    ("5.10", "bullseye"),
    ("6.1", "bookworm"),
    ("6.12", "trixie"),
];
/// Depends on the newest kernel of a release, built for virtual machines.
const NEWEST: &str = "linux-image-cloud-amd64";
pub(super) const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Another mirror than the machine's, where that is not Debian's or has dropped a release.
const MIRROR: &str = "NTPGUARD_DEBIAN_MIRROR";

/// The modules that the tests need, in the order in which they are loaded: the clsact qdisc and
/// filters that are BPF programs.
const MODULES: [&str; 2] = ["sch_ingress", "cls_bpf"];

/// A kernel to boot.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// The kernel itself.
    pub(super) image: PathBuf,
    /// Modules of it, to be loaded in this order.
    pub(super) modules: Vec<PathBuf>,
}

/// The kernels there are.
pub(crate) fn versions() -> [&'static str; 3] {
    KERNELS.map(|(version, _)| version)
}

/// The kernel of a version, if it was fetched before.
pub(crate) fn cached(workspace: &Workspace, version: &str) -> Option<Kernel> {
    let directory = directory(workspace, version);
    Some(Kernel {
        image: image_in(&directory)?,
        modules: modules_in(&directory)?,
    })
}

/// The kernel of a version, fetched if need be.
pub(crate) fn get(workspace: &Workspace, version: &str) -> Result<Kernel> {
    if let Some(kernel) = cached(workspace, version) {
        return Ok(kernel);
    }
    let directory = directory(workspace, version);
    fetch(version, &directory).with_context(|| format!("Linux {version} cannot be had"))?;
    cached(workspace, version)
        .with_context(|| format!("Linux {version} was downloaded and has no kernel in it"))
}

fn directory(workspace: &Workspace, version: &str) -> PathBuf {
    workspace.made("kernels").join(version)
}

/// The newest kernel in a directory.
pub(super) fn image_in(directory: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let is_image = |file: &PathBuf| {
        file.file_name()
            .and_then(OsStr::to_str)
            .is_some_and(|name| name.starts_with("vmlinuz-"))
    };
    files.filter(is_image).max()
}

/// The modules in a directory, if all are there.
fn modules_in(directory: &Path) -> Option<Vec<PathBuf>> {
    let module = |name: &str| {
        let files = fs::read_dir(directory).ok()?.flatten();
        let mut paths = files.map(|entry| entry.path());
        // Newer kernels' are compressed: .ko.xz.
        paths.find(|path| {
            let file = path.file_name().and_then(OsStr::to_str);
            file.and_then(|file| file.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with(".ko"))
        })
    };
    MODULES.iter().map(|name| module(name)).collect()
}

fn fetch(version: &str, directory: &Path) -> Result<()> {
    ensure!(
        apt::exists(),
        "kernels are fetched with apt, which this machine has not"
    );
    let Some((_, release)) = KERNELS.iter().find(|(known, _)| *known == version) else {
        bail!("not one of {}", versions().join(", "));
    };
    let mirror = mirror()?;
    let work = directory.join("apt");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    let configuration = configure(&work, &mirror, release)?;
    let apt = |program| apt::with_configuration(program, &configuration);
    command::run(apt("apt-get").args(["-q", "-o", "APT::Update::Error-Mode=any", "update"])).with_context(
        || format!("{mirror} does not have Debian {release} (any more?); {MIRROR} can name another mirror"),
    )?;
    let printed = command::read(apt("apt-cache").args(["depends", NEWEST]))?;
    let package = dependency(&printed)
        .with_context(|| format!("{NEWEST} depends on no kernel:\n{printed}"))?;
    command::run(
        apt("apt-get")
            .args(["-q", "download", package])
            .current_dir(&work),
    )?;

    let files: Vec<_> = fs::read_dir(&work)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    let is_package = |file: &&PathBuf| file.extension() == Some(OsStr::new("deb"));
    let downloaded = files
        .iter()
        .find(is_package)
        .with_context(|| format!("apt did not download {package}"))?;
    apt::unpack(downloaded, &work.join("unpacked"))?;
    let image =
        image_in(&work.join("unpacked/boot")).with_context(|| format!("no kernel in {package}"))?;
    let release = fs::read_dir(work.join("unpacked/lib/modules"))?
        .next()
        .with_context(|| format!("no modules in {package}"))??;
    let modules = modules_in(&release.path().join("kernel/net/sched"))
        .with_context(|| format!("{package} lacks one of {}", MODULES.join(", ")))?;
    for module in modules {
        fs::rename(
            &module,
            directory.join(module.file_name().unwrap_or_default()),
        )?;
    }
    // Last, and at once: what is in place is whole.
    fs::rename(
        &image,
        directory.join(image.file_name().unwrap_or_default()),
    )?;
    Ok(fs::remove_dir_all(&work)?)
}

/// The mirror that Debian is taken from.
pub(super) fn mirror() -> Result<String> {
    match std::env::var(MIRROR) {
        Ok(mirror) => Ok(mirror),
        Err(_) => apt::debian_mirror().with_context(|| format!("name a Debian mirror in {MIRROR}")),
    }
}

/// Makes what apt needs to work in a directory of its own, and returns its configuration file. The
/// machine's configuration counts before it, for proxies and passwords.
fn configure(work: &Path, mirror: &str, release: &str) -> Result<PathBuf> {
    for directory in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(work.join(directory))?;
    }
    let place = |name| work.join(name).display().to_string();
    fs::write(
        place("sources.list"),
        format!("deb [signed-by={KEYS}] {mirror} {release} main\n"),
    )?;
    fs::write(place("status"), "")?;
    let configuration = format!(
        "#clear APT::Update;\n\
         #clear DPkg;\n\
         Dir::Etc::SourceList \"{}\";\n\
         Dir::Etc::SourceParts \"-\";\n\
         Dir::State::Lists \"{}\";\n\
         Dir::State::status \"{}\";\n\
         Dir::Cache \"{}\";\n\
         Dir::Cache::archives \"{}\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Check-Valid-Until \"false\";\n\
         APT::Architecture \"amd64\";\n\
         APT::Sandbox::User \"root\";\n",
        place("sources.list"),
        place("lists"),
        place("status"),
        place("cache"),
        place("cache/archives"),
    );
    let file = work.join("apt.conf");
    fs::write(&file, configuration)?;
    Ok(file)
}

/// The package that the newest kernel's package stands for.
fn dependency(printed: &str) -> Option<&str> {
    printed
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::TESTED;

    #[test]
    fn the_newest_kernels_package_is_read() {
        let printed = "linux-image-cloud-amd64\n  Depends: linux-image-5.10.0-32-cloud-amd64\n";
        assert_eq!(
            dependency(printed),
            Some("linux-image-5.10.0-32-cloud-amd64")
        );
        assert_eq!(dependency("linux-image-cloud-amd64\n"), None);
    }

    #[test]
    fn every_kernel_that_is_tested_is_one_that_can_be_had() {
        assert!(TESTED.iter().all(|version| versions().contains(version)));
    }

    #[test]
    fn a_version_that_no_release_has_is_refused_before_anything_is_fetched() {
        let error = fetch("4.19", Path::new("/nonexistent"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("5.10, 6.1, 6.12"), "{error}");
    }
}
