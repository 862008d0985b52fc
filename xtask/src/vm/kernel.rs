//! Distributions' kernels, fetched from the mirror that this machine's apt already uses. apt runs
//! with lists and a cache of its own, so that the machine's stay as they are.

use std::{
    collections::BTreeSet,
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

/// The modules that the tests need: cables, VLANs, bonds, the clsact qdisc and filters that are BPF
/// programs. What these depend on is fetched with them.
const MODULES: [&str; 5] = ["veth", "8021q", "bonding", "sch_ingress", "cls_bpf"];

/// The directory of a kernel's modules, beside it.
const KEPT: &str = "modules";

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

/// The modules in a directory in the order in which they are loaded, if all are there.
fn modules_in(directory: &Path) -> Option<Vec<PathBuf>> {
    let files = fs::read_dir(directory.join(KEPT)).ok()?.flatten();
    let files: BTreeSet<_> = files.map(|entry| entry.path()).collect();
    let is_there = |name: &&str| files.iter().any(|file| module_name(file) == Some(name));
    MODULES
        .iter()
        .all(is_there)
        .then(|| files.into_iter().collect())
}

/// The name of the module in `03-veth.ko` or, as newer kernels have it, `veth.ko.xz`.
fn module_name(file: &Path) -> Option<&str> {
    let (name, _) = file.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.split_once('-').map_or(name, |(_, name)| name))
}

/// Copies the modules of an unpacked package, numbered in the order in which they are to be loaded.
fn keep_modules(unpacked: &Path, kept: &Path) -> Result<()> {
    // Newer packages know no `/lib`.
    let root = [unpacked.to_owned(), unpacked.join("usr")];
    let root = root
        .iter()
        .find(|root| root.join("lib/modules").is_dir())
        .context("no modules")?;
    let release = fs::read_dir(root.join("lib/modules"))?
        .next()
        .context("no modules")??;
    let mut depmod = command::program("depmod");
    command::run(depmod.arg("-b").arg(root).arg(release.file_name()))?;
    let dependencies = fs::read_to_string(release.path().join("modules.dep"))?;
    fs::create_dir_all(kept)?;
    for (number, file) in load_order(&dependencies)?.into_iter().enumerate() {
        let from = release.path().join(file);
        let name = from.file_name().unwrap_or_default().display();
        fs::copy(&from, kept.join(format!("{number:02}-{name}")))?;
    }
    Ok(())
}

/// The files of the modules, each after those that it depends on, from what depmod writes.
fn load_order(dependencies: &str) -> Result<Vec<&str>> {
    let mut order = Vec::new();
    for name in MODULES {
        let (file, needed) = dependencies
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(file, _)| module_name(Path::new(file)) == Some(name))
            .with_context(|| format!("no module {name}"))?;
        // depmod names first what is loaded last.
        for file in needed.split_whitespace().rev().chain([file]) {
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
    Ok(order)
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
    let kept = work.join(KEPT);
    keep_modules(&work.join("unpacked"), &kept)
        .with_context(|| format!("{package} does not do"))?;
    remove_kept(directory)?;
    fs::rename(kept, directory.join(KEPT))?;
    // Last, and at once: what is in place is whole.
    fs::rename(
        &image,
        directory.join(image.file_name().unwrap_or_default()),
    )?;
    Ok(fs::remove_dir_all(&work)?)
}

/// Removes what was fetched before: modules of another version than the kernel's are of no use.
fn remove_kept(directory: &Path) -> Result<()> {
    let kept = directory.join(KEPT);
    if kept.exists() {
        fs::remove_dir_all(kept)?;
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
    fn a_module_is_loaded_after_those_it_depends_on_and_once() {
        let dependencies = "kernel/net/sched/sch_ingress.ko:
kernel/net/sched/cls_bpf.ko:
kernel/net/8021q/8021q.ko: kernel/net/802/mrp.ko kernel/net/802/garp.ko kernel/net/llc/llc.ko
kernel/net/llc/llc.ko:
kernel/drivers/net/bonding/bonding.ko.xz: kernel/net/tls/tls.ko.xz kernel/net/llc/llc.ko
kernel/drivers/net/veth.ko:
kernel/drivers/net/veth_other.ko:
";
        let order = load_order(dependencies).unwrap();
        let names: Vec<_> = order
            .iter()
            .filter_map(|file| module_name(Path::new(file)))
            .collect();
        let expected = "veth llc garp mrp 8021q tls bonding sch_ingress cls_bpf";
        assert_eq!(names.join(" "), expected);
        let error = load_order("kernel/drivers/net/veth.ko:\n").unwrap_err();
        assert_eq!(error.to_string(), "no module 8021q");
    }

    #[test]
    fn kept_modules_are_listed_in_their_order_or_not_at_all() {
        let directory = std::env::temp_dir().join(format!("ntpguard-kept-{}", std::process::id()));
        fs::create_dir_all(directory.join(KEPT)).unwrap();
        for (number, name) in MODULES.iter().enumerate().rev() {
            assert!(modules_in(&directory).is_none());
            fs::write(
                directory.join(KEPT).join(format!("{number:02}-{name}.ko")),
                "",
            )
            .unwrap();
        }
        let names = modules_in(&directory).unwrap();
        let names: Vec<_> = names.iter().filter_map(|file| module_name(file)).collect();
        assert_eq!(names, MODULES);
        fs::remove_dir_all(directory).unwrap();
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
