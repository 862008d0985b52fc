//! AppArmor, as Debian has it for chronyd.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{
    admission::main_pid,
    machine::{Machine, proc},
};
use crate::process;

const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";
const ENFORCED: &str = "/usr/sbin/chronyd (enforce)";

pub(super) fn apparmor_is_content(_: &mut Machine) -> Result<()> {
    let profiles =
        fs::read_to_string(PROFILES).with_context(|| format!("cannot read {PROFILES}"))?;
    ensure!(profiles.lines().any(|line| line == ENFORCED), "{profiles}");
    let confined = proc(main_pid()?, "attr/current")?;
    ensure!(
        confined.trim_end_matches(['\n', '\0']) == ENFORCED,
        "the service's chronyd is {confined}"
    );
    let log = process::run_program("dmesg", &[])?;
    let denied: Vec<_> = log.lines().filter(|line| is_denial(line)).collect();
    ensure!(denied.is_empty(), "{}", denied.join("\n"));
    // The log has what this looks for.
    ensure!(
        log.contains("apparmor="),
        "the kernel logged nothing of AppArmor"
    );
    Ok(())
}

fn is_denial(line: &str) -> bool {
    line.contains("apparmor=\"DENIED\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_known_and_a_loaded_profile_is_none() {
        let loaded =
            "audit: type=1400 audit(1.2:5): apparmor=\"STATUS\" operation=\"profile_load\"";
        let denied = "audit: type=1400 audit(1.2:6): apparmor=\"DENIED\" operation=\"open\"";
        assert!(is_denial(denied) && !is_denial(loaded));
    }
}
