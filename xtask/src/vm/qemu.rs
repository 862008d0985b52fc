//! The virtual machine itself.

use std::{fs, path::Path, process::Command};

use anyhow::Result;

use crate::command;

/// A machine with this kernel and these files, and its console on standard output. Its memory and the
/// kernel's command line are still to be given.
pub(super) fn machine(kernel: &Path, initramfs: &Path) -> Command {
    let mut qemu = command::program("qemu-system-x86_64");
    // Emulated: a machine that is itself virtual can hang on hardware acceleration.
    qemu.args(["-accel", "tcg", "-no-reboot", "-nodefaults"]);
    qemu.args(["-display", "none", "-serial", "stdio"]);
    qemu.arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs);
    qemu
}

/// Removes the files of a machine that was booted, or says how to boot them by hand.
pub(super) fn clean_up(qemu: &Command, initramfs: &Path, keep: bool) -> Result<()> {
    if !keep {
        return Ok(fs::remove_file(initramfs)?);
    }
    println!("kept {}; by hand: {}", initramfs.display(), by_hand(qemu));
    Ok(())
}

/// The command as it would be typed, for a machine that says more.
fn by_hand(qemu: &Command) -> String {
    let words = qemu.get_args().map(|word| word.to_string_lossy());
    let words = words.map(|word| {
        if word.contains(' ') {
            format!("'{}'", word.replace("quiet ", ""))
        } else {
            word.into_owned()
        }
    });
    let program = qemu.get_program().to_string_lossy().into_owned();
    [program]
        .into_iter()
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_by_hand_can_be_pasted_into_a_shell() {
        let mut qemu = machine(Path::new("/k"), Path::new("/i"));
        qemu.args(["-append", "console=ttyS0 quiet panic=-1"]);
        let shown = by_hand(&qemu);
        assert!(
            shown.ends_with("-kernel /k -initrd /i -append 'console=ttyS0 panic=-1'"),
            "{shown}"
        );
    }
}
