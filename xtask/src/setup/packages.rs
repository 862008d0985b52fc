//! Programs of the system that the tests use: to look at the kernel, to build networks, to serve
//! names, to boot other kernels. The guard itself needs none of them.

use anyhow::{Result, bail};

use super::{Plan, Step};
use crate::{apt, command, workspace::Workspace};

/// A package of Debian and the program in it that the tests run, if it is one they can see.
const PACKAGES: [(&str, Option<&str>); 12] = [
    ("bpftool", Some("bpftool")),
    ("dbus-bin", Some("dbus-send")),
    ("dbus-daemon", Some("dbus-daemon")),
    ("debian-archive-keyring", None),
    ("dnsmasq-base", Some("dnsmasq")),
    ("ethtool", Some("ethtool")),
    ("iproute2", Some("ip")),
    ("iputils-ping", Some("ping")),
    ("kmod", Some("modprobe")),
    ("nftables", Some("nft")),
    ("python3-ntp", None),
    ("qemu-system-x86", Some("qemu-system-x86_64")),
];

/// The packages.
pub(super) struct Packages;

impl Step for Packages {
    fn plan(&self, _: &Workspace) -> Result<Option<Plan>> {
        if !apt::exists() {
            return by_hand();
        }
        let missing = apt::missing(&names())?;
        let plan = || Plan {
            what: format!("install {}", missing.join(" ")),
            cost: "up to 150 MB with what they need",
        };
        Ok((!missing.is_empty()).then(plan))
    }

    fn act(&self, _: &Workspace) -> Result<()> {
        apt::update()?;
        apt::install(&apt::missing(&names())?)
    }
}

fn names() -> Vec<&'static str> {
    PACKAGES.iter().map(|(package, _)| *package).collect()
}

/// Another package manager's names are not known here; the programs' names are the same everywhere.
fn by_hand() -> Result<Option<Plan>> {
    let programs = PACKAGES.iter().filter_map(|(_, program)| *program);
    let missing: Vec<_> = programs
        .filter(|program| command::find(program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(None);
    }
    bail!(
        "this machine has no apt; install what gives these programs, then call this again: {}",
        missing.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_package_is_named_twice_and_none_is_a_time_daemon() {
        let mut names = names();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PACKAGES.len());
        // Installed, they would start and set the clock.
        assert!(
            names
                .iter()
                .all(|name| !["chrony", "ntpsec", "ntp", "openntpd"].contains(name))
        );
    }
}
