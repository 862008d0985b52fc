//! Whole systems: a distribution with its service manager, its time daemon and its accounts.

pub(crate) mod image;
mod overlay;
mod recipe;

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

pub(crate) use self::recipe::Recipe;
use super::{console, qemu};
use crate::workspace::Workspace;

/// The systems that every test run boots.
pub(crate) const TESTED: [&str; 1] = ["debian-12"];
/// From power-on to the last line: a boot takes half a minute of two emulated CPUs and the checks two
/// minutes, and others may be using the CPUs too.
const LIMIT: Duration = Duration::from_secs(600);
/// systemd is the first process, and leaves the console to the checks.
const KERNEL_LINE: &str = "console=ttyS0 quiet panic=-1 oops=panic rdinit=/lib/systemd/systemd \
    systemd.show_status=false systemd.mask=serial-getty@ttyS0.service ntpguard.vm";

/// The names of all systems.
pub(crate) fn names() -> Vec<&'static str> {
    recipe::RECIPES.iter().map(|recipe| recipe.name).collect()
}

/// The recipe of a system.
pub(crate) fn recipe(name: &str) -> Result<&'static Recipe> {
    Recipe::named(name)
        .with_context(|| format!("no system {name}: there is {}", names().join(", ")))
}

/// The name of a system for people.
pub(crate) fn title(name: &str) -> &str {
    Recipe::named(name).map_or(name, |recipe| recipe.title)
}

/// Boots a system and runs the checks in it.
///
/// # Errors
/// One of them failed, or the machine did not get that far.
pub(crate) fn boot(workspace: &Workspace, name: &str, keep: bool) -> Result<()> {
    let recipe = recipe(name)?;
    let image = image::get(workspace, recipe)?;
    let directory = workspace.target().join("vm");
    fs::create_dir_all(&directory)?;
    let initramfs = directory.join(format!("{name}.cpio"));
    overlay::write(workspace, &image.files, &initramfs)
        .with_context(|| format!("{} cannot be made", initramfs.display()))?;

    let mut qemu = qemu::machine(&image.kernel, &initramfs);
    // All files of the system are in memory.
    qemu.args(["-m", "2048", "-smp", "2", "-append"]);
    qemu.arg(format!("{KERNEL_LINE} systemd.wants={}", overlay::UNIT));
    println!("booting {}", recipe.title);
    let outcome = console::watch(&mut qemu, name, LIMIT, &["checks"]);
    qemu::clean_up(&qemu, &initramfs, keep)?;
    console::judge(&outcome?, recipe.title, LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_that_is_tested_has_a_recipe() {
        assert!(TESTED.iter().all(|name| recipe(name).is_ok()));
    }

    #[test]
    fn a_system_that_has_no_recipe_is_refused_and_the_others_are_named() {
        let error = recipe("debian-11").unwrap_err().to_string();
        assert!(error.contains("debian-12"), "{error}");
    }
}
