//! What the service manager's own daemon needs, without a word of configuration.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard::api::status::Status;
use ntpguard_common::reason::Reason;

use super::machine::{Machine, answered_by, systemctl};
use crate::{process, wait::eventually};

const SERVICE: &str = "/system.slice/chrony.service";
/// How many replies there are to be after a restart: more than the first burst's four.
const REPLIES: u64 = 10;
/// How long a reply may be under way, by a cable within this machine.
const LAST_REPLY: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(90);

/// Packets that were admitted, and those that were dropped.
fn counts(status: &Status) -> (u64, u64) {
    let sum = |admitted: bool| {
        let reasons = Reason::ALL.iter();
        let reasons = reasons.filter(|reason| reason.admits() == admitted);
        reasons
            .filter_map(|reason| status.enforced.get(reason.name()))
            .sum()
    };
    (sum(true), sum(false))
}

/// What was admitted and dropped, and what the server sent, when chronyd asks no more and the last
/// reply has come.
fn quiet_counts(machine: &Machine) -> Result<(u64, u64, u64)> {
    chronyc(&["offline"])?;
    eventually(Duration::from_secs(20), "an end of the replies", || {
        let before = counts(&machine.status()?);
        let sent = answered_by(machine.network())?;
        thread::sleep(LAST_REPLY);
        let now = counts(&machine.status()?);
        ensure!(now == before, "replies still come");
        Ok((now.0, now.1, sent))
    })
}

fn chronyc(line: &[&str]) -> Result<String> {
    process::run_program("chronyc", &[&["-c"], line].concat())
}

pub(super) fn restart_loses_no_reply(machine: &mut Machine) -> Result<()> {
    eventually(LIMIT, "trust in chrony.service", || {
        let trusted_senders = machine.status()?.traffic.trusted_senders;
        ensure!(machine.trusts(SERVICE)?, "trusted are {trusted_senders:?}");
        Ok(())
    })?;
    let before = quiet_counts(machine)?;
    systemctl("restart")?;
    eventually(LIMIT, "replies after a restart", || {
        let (admitted, _) = counts(&machine.status()?);
        ensure!(
            admitted >= before.0 + REPLIES,
            "{} came",
            admitted - before.0
        );
        let tracking = chronyc(&["tracking"])?;
        ensure!(tracking.contains(",Normal"), "tracking {tracking}");
        Ok(())
    })?;
    let after = quiet_counts(machine)?;
    chronyc(&["online"])?;
    let (admitted, dropped, sent) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    ensure!(
        admitted == sent && dropped == 0,
        "of {sent} replies {admitted} were admitted, and {dropped} packets were dropped: {:?}",
        machine.status()?.enforced
    );
    println!("  {admitted} of {sent} replies were admitted");
    ensure!(machine.trusts(SERVICE)?, "trust in chrony.service went");
    Ok(())
}

/// The process that chrony.service is.
pub(super) fn main_pid() -> Result<u32> {
    let line = ["show", "--property=MainPID", "--value", "chrony.service"];
    let printed = process::run_program("systemctl", &line)?;
    let pid = printed.trim().parse().context("not a process id")?;
    ensure!(pid != 0, "chrony.service does not run");
    Ok(pid)
}
