//! Who may be what: one table made of everything that vouches for an address.

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{
    guard::{Guard, Home},
    lab::Lab,
};

mod by_hand;
mod configuration;
mod groups;
mod packets;
mod prefixes;

const STRANGER: &str = "203.0.113.9";
const STRANGER_V6: &str = "2001:db8:f::9";
const NAMED: &str = "192.0.2.1";

fn with_config(lab: &Lab, config: &str, more: &[&str]) -> Result<Guard> {
    let source = lab.write("ntp.conf", config)?;
    lab.guard().source(&source).args(more).ready()
}

fn edit(lab: &Lab, home: &Home, line: &[&str]) -> Result<()> {
    let output = lab.cli(home, &[&["allowlist"], line].concat())?;
    ensure!(output.status.success(), "{line:?}: {output:?}");
    Ok(())
}

/// Fails unless `address` may play exactly these parts.
fn may_be(lab: &Lab, home: &Home, address: &str, roles: &[Role]) -> Result<()> {
    for role in Role::ALL {
        if role == Role::Broadcast && address.contains(':') {
            continue;
        }
        if roles.contains(&role) {
            lab.admits(home, address, role)?;
        } else {
            lab.drops(home, address, role)?;
        }
    }
    Ok(())
}
