//! The checks of a whole system, run inside it: a distribution's own service manager, time daemon,
//! accounts and confinement, in a virtual machine that `cargo xtask vm --system` boots.
//!
//! A check is a function and a line of `CHECKS`. It leaves the machine as it found it, so that the
//! next one can count on what `Machine::prepare` made.

mod accounts;
mod admission;
pub mod chronyd;
mod confinement;
pub mod machine;
mod services;
mod sessions;
mod sockets;
mod strangers;

use std::fs;

use anyhow::{Context, Result, ensure};

use self::machine::Machine;
use crate::checks::Outcome;

/// What the kernel's command line has in such a machine, and nowhere else.
const MARK: &str = "ntpguard.vm";

/// What is expected of the guard, and the function that finds out.
type Check = (&'static str, fn(&mut Machine) -> Result<()>);

/// In the order in which they run.
const CHECKS: &[Check] = &[
    (
        "chrony.service is trusted unasked, and a restart loses no reply",
        admission::restart_loses_no_reply,
    ),
    (
        "AppArmor confines chronyd, and denied it nothing",
        confinement::apparmor_is_content,
    ),
    (
        "packets of strangers are dropped",
        strangers::strangers_are_dropped,
    ),
    (
        "a service with private directories is believed",
        services::sandboxed_service_is_believed,
    ),
    (
        "a scope is no trusted sender",
        services::scope_is_not_trusted,
    ),
    (
        "a command line of www-data's grants nothing",
        accounts::service_account_grants_nothing,
    ),
    (
        "a user's own chrony.service is no trusted sender",
        sessions::user_service_is_not_trusted,
    ),
    (
        "a link that _chrony put where a socket could be is left alone",
        sockets::planted_link_is_left_alone,
    ),
];

/// Runs all checks and prints a line for each.
///
/// # Errors
///
/// Where this is no machine for it, or it cannot be prepared.
pub fn run() -> Result<Outcome> {
    ensure_disposable()?;
    let mut machine = Machine::prepare().context("this machine cannot be prepared")?;
    let mut outcome = Outcome::default();
    for (what, check) in CHECKS {
        outcome.run(what, || check(&mut machine));
    }
    if outcome.failed > 0 {
        println!("what the guard logged:\n{}", machine.log());
    }
    Ok(outcome)
}

/// The checks write to /etc, add accounts and restart services.
fn ensure_disposable() -> Result<()> {
    let line = fs::read_to_string("/proc/cmdline").context("cannot read /proc/cmdline")?;
    ensure!(
        line.split_whitespace().any(|word| word == MARK),
        "this changes the system it runs on: start it with `cargo xtask vm --system NAME`"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn this_machine_is_not_disposable() {
        assert!(ensure_disposable().is_err());
    }

    #[test]
    fn no_two_checks_have_the_same_name() {
        let names: BTreeSet<_> = CHECKS.iter().map(|(what, _)| what).collect();
        assert_eq!(names.len(), CHECKS.len());
    }
}
