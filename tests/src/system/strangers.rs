//! Addresses that nothing was granted.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use ntpguard_common::reason::Reason;

use super::machine::{Machine, OWN, STRANGER};
use crate::{
    packets::{ntp, send},
    wait::eventually,
};

const PORT: u16 = 40_123;

pub(super) fn strangers_are_dropped(machine: &mut Machine) -> Result<()> {
    let from = SocketAddr::new(STRANGER, PORT);
    let packets = [
        (Reason::Unlisted, ntp::Message::request(1).to_vec()),
        (Reason::Private, ntp::monlist_request()),
    ];
    for (reason, packet) in packets {
        let count = || -> Result<u64> {
            let enforced = machine.status()?.enforced;
            Ok(enforced.get(reason.name()).copied().unwrap_or(0))
        };
        let before = count()?;
        send(machine.network(), from, SocketAddr::new(OWN, 123), &packet)?;
        eventually(Duration::from_secs(10), "a stranger's packet", || {
            let now = count()?;
            ensure!(now == before + 1, "{reason} went from {before} to {now}");
            Ok(())
        })?;
    }
    ensure!(
        !machine.grants(STRANGER)?,
        "{STRANGER} is granted something"
    );
    Ok(())
}
