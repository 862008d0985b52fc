//! Programs of the system that tests and measurements use: to look at the kernel, to build
//! networks, to serve names, to boot other kernels, to compare with. The guard itself needs none
//! of them.

use anyhow::{Result, bail};

use super::{Plan, Step};
use crate::{apt, command, workspace::Workspace};

/// A package of Debian and the program in it that is run, if it is one that can be seen.
type Package = (&'static str, Option<&'static str>);

/// What the tests use.
pub(super) const TESTS: &[Package] = &[
    ("bpftool", Some("bpftool")),
    ("dbus-bin", Some("dbus-send")),
    ("dbus-daemon", Some("dbus-daemon")),
    ("debian-archive-keyring", None),
    ("dnsmasq-base", Some("dnsmasq")),
    ("ethtool", Some("ethtool")),
    // The fuzz targets are checked with all the rest, and libFuzzer is C++.
    ("g++", Some("c++")),
    ("iproute2", Some("ip")),
    ("iputils-ping", Some("ping")),
    ("kmod", Some("modprobe")),
    ("libarchive-tools", Some("bsdtar")),
    ("mmdebstrap", Some("mmdebstrap")),
    ("nftables", Some("nft")),
    ("nmap", Some("nmap")),
    ("patchelf", Some("patchelf")),
    ("python3-ntp", None),
    ("qemu-system-x86", Some("qemu-system-x86_64")),
    ("strace", Some("strace")),
    ("xdp-tools", Some("xdp-loader")),
];

/// What fuzzing uses.
pub(super) const FUZZING: &[Package] = &[("g++", Some("c++"))];

/// What the guard is measured against besides.
pub(super) const PEERS: &[Package] = &[("iptables", Some("iptables"))];

/// Some packages.
pub(super) struct Packages(pub(super) &'static [Package]);

impl Step for Packages {
    fn plan(&self, _: &Workspace) -> Result<Option<Plan>> {
        if !apt::exists() {
            return by_hand(self.0);
        }
        let missing = apt::missing(&names(self.0))?;
        let plan = || Plan {
            what: format!("install {}", missing.join(" ")),
            cost: "up to 150 MB with what they need",
        };
        Ok((!missing.is_empty()).then(plan))
    }

    fn act(&self, _: &Workspace) -> Result<()> {
        apt::update()?;
        apt::install(&apt::missing(&names(self.0))?)
    }
}

fn names(packages: &[Package]) -> Vec<&'static str> {
    packages.iter().map(|(package, _)| *package).collect()
}

/// Another package manager's names are not known here; the programs' names are the same everywhere.
fn by_hand(packages: &[Package]) -> Result<Option<Plan>> {
    let programs = packages.iter().filter_map(|(_, program)| *program);
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
        let mut names = [names(TESTS), names(PEERS)].concat();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TESTS.len() + PEERS.len());
        // Installed, they would start and set the clock.
        assert!(
            names
                .iter()
                .all(|name| !["chrony", "ntpsec", "ntp", "openntpd"].contains(name))
        );
    }
}
