//! The accounts that time daemons run as.

use std::{path::Path, sync::OnceLock};

use serde::Deserialize;

use super::{configured, users::Users};

/// The first uid of people; system accounts are below it (`UID_MIN` of login.defs).
const FIRST_HUMAN: u32 = 1_000;

/// The uids that systemd gives to services with `DynamicUser=`.
const DYNAMIC: std::ops::RangeInclusive<u32> = 61_184..=65_519;

/// Accounts that daemons run as on this host, beside those that packages make for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Accounts {
    /// chronyd's.
    pub chronyd: Vec<String>,
    /// Those of the classic ntpd and NTPsec's, and of an OpenNTPD whose program is called ntpd.
    pub ntpd: Vec<String>,
    /// OpenNTPD's.
    pub openntpd: Vec<String>,
    /// Those of busybox's ntpd.
    pub busybox: Vec<String>,
    /// ntpd-rs's.
    pub ntpd_rs: Vec<String>,
    /// systemd-timesyncd's.
    pub timesyncd: Vec<String>,
}

/// What our configuration adds, for the whole process: which accounts are a daemon's is a fact
/// of the host, as `/etc/passwd` is.
static ADDED: OnceLock<Accounts> = OnceLock::new();

/// Adds accounts of this host's daemons, once, before any are looked for.
pub fn add_accounts(accounts: Accounts) {
    if ADDED.set(accounts).is_err() {
        tracing::debug!("accounts were already added and are kept");
    }
}

impl Accounts {
    /// What the administrator has added, in our configuration and in the daemons' below `root`.
    pub(super) fn of_host(root: &Path) -> Self {
        let mut accounts = ADDED.get().cloned().unwrap_or_default();
        accounts
            .chronyd
            .extend(configured::accounts(root, "chronyd"));
        accounts.ntpd.extend(configured::accounts(root, "ntpd"));
        accounts
    }

    /// Whether `uid` is an account of the daemon whose program's file name is `file`.
    pub(super) fn has(&self, file: &str, uid: u32, users: &Users) -> bool {
        let names = built_in(file).iter().copied();
        let mut names = names.chain(self.of(file).iter().map(String::as_str));
        let is_it = |name| users.uid(name).or_else(|| name.parse().ok()) == Some(uid);
        uid == 0 || names.any(is_it)
    }

    fn of(&self, file: &str) -> &[String] {
        match file {
            "chronyd" => &self.chronyd,
            "ntpd" => &self.ntpd,
            "openntpd" => &self.openntpd,
            "busybox" => &self.busybox,
            "ntp-daemon" => &self.ntpd_rs,
            "systemd-timesyncd" => &self.timesyncd,
            _ => &[],
        }
    }
}

/// The accounts that distributions make for a daemon, by the file name of its program.
const fn built_in(file: &str) -> &'static [&'static str] {
    match file.as_bytes() {
        b"chronyd" => &["chrony", "_chrony"],
        // OpenNTPD's program has this name, too.
        b"ntpd" => &["ntp", "ntpsec", "_ntp", "openntpd", "_openntpd", "_ntpd"],
        b"openntpd" => &["_ntp", "openntpd", "_openntpd", "_ntpd"],
        b"busybox" => &["ntp"],
        b"ntp-daemon" => &["ntpd-rs"],
        b"systemd-timesyncd" => &["systemd-timesync"],
        _ => &[],
    }
}

/// The key in `accounts` of our configuration, by the file name of a daemon's program.
pub(super) const fn key(file: &str) -> &str {
    match file.as_bytes() {
        b"ntp-daemon" => "ntpd-rs",
        b"systemd-timesyncd" => "timesyncd",
        _ => file,
    }
}

/// Whether a uid is that of a service, and not of a person: what a person runs is no finding.
pub(super) fn is_service(uid: u32) -> bool {
    uid < FIRST_HUMAN || DYNAMIC.contains(&uid)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_daemon_has_accounts_of_its_own() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("etc")).expect("made");
        let list = "_chrony:x:101:1\nntpsec:x:102:1\n_ntpd:x:103:1\nwww-data:x:33:1\n";
        fs::write(root.path().join("etc/passwd"), list).expect("written");
        let users = Users::read(root.path());
        let accounts = Accounts {
            openntpd: ["www-data", "missing", "34"].map(str::to_owned).into(),
            ..Accounts::default()
        };
        for (file, uid, has) in [
            ("chronyd", 0, true),
            ("chronyd", 101, true),
            ("chronyd", 102, false),
            ("ntpd", 102, true),
            ("ntpd", 103, true),
            ("openntpd", 102, false),
            ("openntpd", 33, true),
            ("openntpd", 34, true),
            ("chronyd", 33, false),
            ("ntp-daemon", 101, false),
        ] {
            assert_eq!(accounts.has(file, uid, &users), has, "{file} {uid}");
        }
    }

    #[test]
    fn every_program_has_a_key() {
        for file in super::super::program::FILES {
            let line = format!("{} = [\"x\"]", key(file));
            let accounts: Accounts = toml::from_str(&line).expect("a key");
            assert_eq!(accounts.of(file), ["x"], "{file}");
        }
        assert!(toml::from_str::<Accounts>("cronyd = []").is_err());
    }
}
