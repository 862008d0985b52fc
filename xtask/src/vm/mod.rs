//! `cargo xtask vm`: the fixtures and the guard on another kernel, or the checks of a whole system, in a virtual
//! machine.

mod archive;
mod console;
mod initramfs;
pub(crate) mod kernel;
mod qemu;
pub(crate) mod system;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    command, parallel,
    setup::{self, Purpose},
    workspace::Workspace,
};

/// The kernels that every test run boots: the oldest the guard supports, and a common one.
pub(crate) const TESTED: [&str; 2] = ["5.10", "6.1"];
/// What runs on them, by package.
const PROGRAMS: [(&str, &str); 3] = [
    ("ntpguard-tests", "fixtures"),
    ("ntpguard-tests", "attachments"),
    ("ntpguard", "ntpguard"),
];
/// From power-on to the last line. A boot takes 5 s, loading and running the fixtures two to three
/// minutes of an emulated CPU, and the checks of attachments less than one; others may be using the
/// CPU too.
const LIMIT: Duration = Duration::from_secs(900);

/// Run the fixtures and the guard on another Linux kernel, or the checks of a whole system, in a virtual machine
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    guest: Guest,
    /// Keep what was booted, and say how to boot it by hand
    #[arg(long)]
    keep: bool,
    /// Do not ask before preparing this machine
    #[arg(long)]
    yes: bool,
}

/// What is booted.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Guest {
    /// A kernel, with the fixtures and the checks of attachments: its first two numbers
    #[arg(long, value_name = "VERSION", value_parser = kernel::versions())]
    kernel: Option<String>,
    /// A distribution with its service manager and time daemon, with the checks of trust
    #[arg(long, value_name = "NAME", value_parser = system::names())]
    system: Option<String>,
}

/// Runs the subcommand.
pub(crate) fn execute(workspace: &Workspace, options: &Options) -> Result<()> {
    setup::prepare(workspace, Purpose::Test, options.yes)?;
    let Guest { kernel, system } = &options.guest;
    if let Some(version) = kernel {
        boot(workspace, &[version], options.keep)?;
    }
    if let Some(name) = system {
        system::boot(workspace, name, options.keep)?;
    }
    Ok(())
}

/// Boots kernels, each in a machine of its own, and runs the fixtures and the checks of attachments
/// on them. A machine emulates one CPU, so several take as long as one.
///
/// # Errors
/// One of them failed, or a machine did not get that far.
pub(crate) fn boot(workspace: &Workspace, versions: &[&str], keep: bool) -> Result<()> {
    let programs = PROGRAMS.map(|(package, name)| stripped(workspace, package, name));
    let programs: Vec<_> = programs.into_iter().collect::<Result<_>>()?;
    parallel::each(versions, |version| {
        boot_one(workspace, version, &programs, keep)
    })
}

fn boot_one(workspace: &Workspace, version: &str, programs: &[PathBuf], keep: bool) -> Result<()> {
    let kernel = kernel::get(workspace, version)?;
    let image = workspace.target().join(format!("vm/{version}.cpio"));
    initramfs::write(&image, programs, &kernel.modules)
        .with_context(|| format!("{} cannot be made", image.display()))?;

    let mut qemu = qemu::machine(&kernel.image, &image);
    qemu.args(["-m", "512"]);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 oops=panic"]);
    println!(
        "booting {}",
        kernel.image.file_name().unwrap_or_default().display()
    );
    let outcome = console::watch(&mut qemu, version, LIMIT, &["fixtures", "attachments"]);
    qemu::clean_up(&qemu, &image, keep)?;
    console::judge(&outcome?, &format!("Linux {version}"), LIMIT)
}

/// A program of the workspace, without the debug information, which is most of it.
fn stripped(workspace: &Workspace, package: &str, program: &str) -> Result<PathBuf> {
    let mut build = command::cargo();
    build.args(["build", "--package", package, "--bin", program]);
    command::run(build.current_dir(workspace.root()))?;
    let built = workspace.target().join("debug").join(program);
    let directory = workspace.target().join("vm");
    fs::create_dir_all(&directory)?;
    let stripped = directory.join(program);
    strip(&built, &stripped)?;
    ensure!(stripped.exists(), "{} was not made", stripped.display());
    Ok(stripped)
}

fn strip(from: &Path, to: &Path) -> Result<()> {
    command::run(command::program("strip").arg("-o").args([to, from]))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn guest(line: &str) -> Result<Guest, clap::Error> {
        Ok(Cli::try_parse_from(line.split(' '))?.options.guest)
    }

    #[test]
    fn one_guest_is_asked_for_and_not_two_or_none() {
        assert_eq!(guest("vm --kernel 6.1").unwrap().kernel.unwrap(), "6.1");
        let system = guest("vm --system debian-12 --keep").unwrap().system;
        assert_eq!(system.unwrap(), "debian-12");
        assert!(guest("vm --kernel 6.1 --system debian-12").is_err());
        assert!(guest("vm --keep").is_err());
    }

    #[test]
    fn a_guest_that_is_not_known_is_refused() {
        assert!(guest("vm --system debian-11").is_err());
        assert!(guest("vm --kernel 4.19").is_err());
    }
}
