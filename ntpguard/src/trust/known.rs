//! The time daemons that are trusted without being named, before the first of their processes is
//! seen.

use std::path::PathBuf;

use super::service::{OPENRC, OURS, SYSTEMD};

/// A well-known time daemon.
#[derive(Debug)]
pub struct Known {
    /// What its service is called, as by Debian, Ubuntu, Fedora, Arch, openSUSE, Alpine and Gentoo.
    pub service: &'static str,
    /// The accounts that it may run under beside root.
    pub accounts: &'static [&'static str],
}

const CHRONY: &[&str] = &["_chrony", "chrony"];
const NTPD_RS: &[&str] = &["ntpd-rs"];
const OPENNTPD: &[&str] = &["openntpd", "_openntpd", "_ntp", "_ntpd"];

/// All of them.
pub const DAEMONS: [Known; 10] = [
    of("chrony", CHRONY),
    of("chronyd", CHRONY),
    of("ntp", &["ntp", "ntpsec"]),
    // OpenNTPD's too, in some distributions.
    of("ntpd", &["ntp", "ntpsec", "_ntp"]),
    of("ntpsec", &["ntpsec", "ntp"]),
    of("ntpd-rs", NTPD_RS),
    of("ntp-daemon", NTPD_RS),
    of("openntpd", OPENNTPD),
    of("openntpd-server", OPENNTPD),
    of("systemd-timesyncd", &["systemd-timesync"]),
];

const fn of(service: &'static str, accounts: &'static [&'static str]) -> Known {
    Known { service, accounts }
}

impl Known {
    /// The cgroups that service managers make for it, from the root of the hierarchy, and the one
    /// that `ntpguard exec` makes for a program of that name.
    pub fn cgroups(&self) -> [PathBuf; 3] {
        let service = self.service;
        [
            format!("/{SYSTEMD}/{service}.service"),
            format!("/{OPENRC}{service}"),
            format!("/{OURS}{service}"),
        ]
        .map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::service;

    #[test]
    fn the_cgroups_of_known_daemons_are_services() {
        for known in &DAEMONS {
            for cgroup in known.cgroups() {
                assert_eq!(service::of(&cgroup), Some(cgroup));
            }
        }
    }
}
