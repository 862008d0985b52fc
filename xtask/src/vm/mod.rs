//! `cargo xtask vm`: the fixtures on another kernel, in a virtual machine.

mod console;
mod initramfs;
pub(crate) mod kernel;

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    command,
    setup::{self, Purpose},
    vm::console::Outcome,
    workspace::Workspace,
};

/// The kernels that every test run boots: the oldest the guard supports, and a common one.
pub(crate) const TESTED: [&str; 2] = ["5.10", "6.1"];
/// From power-on to the last line. A boot takes 5 s, and loading and running the fixtures 45 s of an
/// emulated CPU, which others may be using too.
const LIMIT: Duration = Duration::from_secs(300);

/// Run the fixtures on another Linux kernel, in a virtual machine
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which: its first two numbers
    #[arg(long, value_name = "VERSION", value_parser = kernel::versions())]
    kernel: String,
    /// Keep what was booted, and say how to boot it by hand
    #[arg(long)]
    keep: bool,
    /// Do not ask before preparing this machine
    #[arg(long)]
    yes: bool,
}

/// Runs the subcommand.
pub(crate) fn execute(workspace: &Workspace, options: &Options) -> Result<()> {
    setup::prepare(workspace, Purpose::Test, options.yes)?;
    boot(workspace, &options.kernel, options.keep)
}

/// Boots a kernel and runs the fixtures on it.
///
/// # Errors
/// One of them failed, or the machine did not get that far.
pub(crate) fn boot(workspace: &Workspace, version: &str, keep: bool) -> Result<()> {
    let kernel = kernel::get(workspace, version)?;
    let fixtures = build_fixtures(workspace)?;
    let directory = workspace.target().join("vm");
    fs::create_dir_all(&directory)?;
    let image = directory.join(format!("{version}.cpio"));
    initramfs::write(&image, &fixtures, &kernel.modules)
        .with_context(|| format!("{} cannot be made", image.display()))?;

    let mut qemu = command::program("qemu-system-x86_64");
    // Emulated: a machine that is itself virtual can hang on hardware acceleration.
    qemu.args([
        "-accel",
        "tcg",
        "-m",
        "512",
        "-no-reboot",
        "-nodefaults",
        "-display",
        "none",
    ]);
    qemu.args([
        "-serial",
        "stdio",
        "-append",
        "console=ttyS0 quiet panic=-1 oops=panic",
    ]);
    qemu.arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&image);
    println!(
        "booting {}",
        kernel.image.file_name().unwrap_or_default().display()
    );
    let outcome = console::watch(&mut qemu, LIMIT);
    if keep {
        println!(
            "kept {}; by hand: {}",
            image.display(),
            command::shown(&qemu).replace("quiet ", "")
        );
    } else {
        fs::remove_file(&image)?;
    }
    match outcome? {
        Outcome::Passed(count) => println!("Linux {version}: {count} fixtures passed"),
        Outcome::Failed => bail!("Linux {version}: fixtures failed, see above"),
        Outcome::Stopped => {
            bail!("Linux {version}: the machine stopped before the fixtures were done")
        }
        Outcome::Late => bail!("Linux {version}: not done within {} s", LIMIT.as_secs()),
    }
    Ok(())
}

/// The program that loads the eBPF object and runs all fixtures through it, without the debug
/// information, which is most of it.
fn build_fixtures(workspace: &Workspace) -> Result<std::path::PathBuf> {
    let mut build = command::cargo();
    build.args(["build", "--package", "ntpguard-tests", "--bin", "fixtures"]);
    command::run(build.current_dir(workspace.root()))?;
    let built = workspace.target().join("debug/fixtures");
    let stripped = workspace.target().join("vm/fixtures");
    fs::create_dir_all(workspace.target().join("vm"))?;
    command::run(
        command::program("strip")
            .arg("-o")
            .args([&stripped, &built]),
    )?;
    ensure!(stripped.exists(), "{} was not made", stripped.display());
    Ok(stripped)
}
