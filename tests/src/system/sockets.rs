//! chronyd's own directory, where its account can put anything.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use anyhow::{Context, Result, ensure};

use super::machine::Machine;
use crate::process;

const TARGET: &str = "/root/target";
const ACCOUNT: &str = "_chrony";

/// A socket of the guard's had this name once, and was made accessible to chronyd by its path: a link
/// in its place had a file of root's made writable to all.
pub(super) fn planted_link_is_left_alone(machine: &mut Machine) -> Result<()> {
    fs::write(TARGET, "root's\n").with_context(|| format!("cannot write {TARGET}"))?;
    fs::set_permissions(TARGET, fs::Permissions::from_mode(0o600))?;
    let link = format!("/run/chrony/ntpguard.{}.sock", machine.guard_pid());
    let account = ["--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups"];
    let plant = ["ln", "-s", TARGET, &link];
    process::run_program("setpriv", &[&account[..], &plant].concat())?;
    // The second look begins after whatever followed the first.
    machine.wait_look()?;
    machine.wait_look()?;
    let found = fs::read_link(&link).with_context(|| format!("{link} was taken away"))?;
    ensure!(found.as_os_str() == TARGET, "{link} is {}", found.display());
    let target = fs::metadata(TARGET)?;
    ensure!(
        target.mode() & 0o777 == 0o600 && target.uid() == 0,
        "{TARGET} has the mode {:o} and belongs to {}",
        target.mode(),
        target.uid()
    );
    Ok(fs::remove_file(&link)?)
}
