//! Each role admits its own packets alone, and monitoring tells the same of them.

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{guard::Guard, lab::Lab};
use serde_json::Value;

use super::{STRANGER, edit};

/// The address that is granted nothing but `role`.
fn address_of(role: Role) -> &'static str {
    match role {
        Role::Server => "192.0.2.11",
        Role::Peer => "192.0.2.12",
        Role::Broadcast => "192.0.2.13",
        Role::Client => "192.0.2.14",
        Role::Control => "192.0.2.15",
    }
}

fn with_one_address_a_role(lab: &Lab, mode: &str) -> Result<Guard> {
    let source = lab.write("ntp.conf", "")?;
    let guard = lab.guard().source(&source).mode(mode).ready()?;
    for role in Role::ALL {
        edit(
            lab,
            guard.home(),
            &["add", address_of(role), "--role", role.name()],
        )?;
    }
    Ok(guard)
}

#[test]
fn each_role_admits_its_own_packets_and_no_others() -> Result<()> {
    let lab = Lab::new()?;
    for packet in Role::ALL {
        lab.arrives_unguarded(STRANGER, packet)?;
    }
    let guard = with_one_address_a_role(&lab, "enforce")?;
    for granted in Role::ALL {
        for packet in Role::ALL {
            let fate = lab.fate(guard.home(), address_of(granted), packet)?;
            let expected = if granted == packet {
                granted.name()
            } else {
                "role"
            };
            ensure!(
                fate.reason.name() == expected && fate.arrived == (granted == packet),
                "{} that sends what a {} sends: {fate:?}",
                granted.name(),
                packet.name()
            );
        }
    }
    Ok(())
}

#[test]
fn monitoring_says_the_same_of_each_packet_and_passes_it() -> Result<()> {
    let lab = Lab::new()?;
    let guard = with_one_address_a_role(&lab, "monitor")?;
    for granted in Role::ALL {
        for packet in Role::ALL {
            let fate = lab.fate(guard.home(), address_of(granted), packet)?;
            let expected = if granted == packet {
                granted.name()
            } else {
                "role"
            };
            ensure!(
                fate.reason.name() == expected && fate.arrived,
                "{} that sends what a {} sends: {fate:?}",
                granted.name(),
                packet.name()
            );
        }
    }
    let status: Value = guard.json(&["status", "--json"])?;
    ensure!(
        status["monitored"]["role"] == 20 && status["enforced"]["role"] == 0,
        "{status}"
    );
    Ok(())
}
