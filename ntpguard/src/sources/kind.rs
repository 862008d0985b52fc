//! The dialects, and how they are told apart.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Dialect, chrony::Chrony, files, ntp_conf::NtpConf};

/// A dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// ntp.conf, of the classic ntpd and NTPsec.
    #[serde(rename = "ntp.conf")]
    NtpConf,
    /// chrony.conf.
    #[serde(rename = "chrony")]
    Chrony,
}

impl Kind {
    /// Every dialect.
    pub const ALL: [Self; 2] = [Self::NtpConf, Self::Chrony];

    /// The dialect's reader. `serve` says that whoever may ask for the time by a daemon's default
    /// alone is to be served.
    pub fn dialect(self, serve: bool) -> Box<dyn Dialect> {
        match self {
            Self::NtpConf => Box::new(NtpConf { serve }),
            Self::Chrony => Box::new(Chrony),
        }
    }

    /// The dialect's name, as `--source NAME:FILE` has it.
    pub fn name(self) -> &'static str {
        self.dialect(false).name()
    }

    /// Guesses the dialect of a file: by its name, else by the first directive that only one
    /// dialect has, else ntp.conf.
    pub(super) fn guess(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.contains("chrony") || name.ends_with(".sources") {
            return Self::Chrony;
        }
        files::read(path)
            .ok()
            .and_then(|(_, text)| text.lines().find_map(Self::of_line))
            .unwrap_or(Self::NtpConf)
    }

    fn of_line(line: &str) -> Option<Self> {
        let word = line.split_ascii_whitespace().next()?;
        if NTP_CONF_ALONE.contains(&word) {
            Some(Self::NtpConf)
        } else if CHRONY_ALONE.contains(&&*word.to_ascii_lowercase()) {
            Some(Self::Chrony)
        } else {
            None
        }
    }
}

/// Directives that only ntp.conf has.
const NTP_CONF_ALONE: &[&str] = &[
    "broadcastclient",
    "crypto",
    "disable",
    "discard",
    "enable",
    "filegen",
    "fudge",
    "includefile",
    "interface",
    "keys",
    "leapfile",
    "limit",
    "manycastclient",
    "manycastserver",
    "multicastclient",
    "nts",
    "restrict",
    "statistics",
    "statsdir",
    "tinker",
    "tos",
    "unconfig",
    "unpeer",
    "unrestrict",
];

/// Directives that only chrony.conf has.
const CHRONY_ALONE: &[&str] = &[
    "acquisitionport",
    "allow",
    "authselectmode",
    "bindaddress",
    "bindcmdaddress",
    "cmdallow",
    "cmdport",
    "confdir",
    "deny",
    "dumpdir",
    "hwtimestamp",
    "include",
    "initstepslew",
    "keyfile",
    "leapsectz",
    "local",
    "log",
    "logchange",
    "logdir",
    "makestep",
    "maxupdateskew",
    "minsources",
    "ntsdumpdir",
    "ntsservercert",
    "ntsserverkey",
    "port",
    "ratelimit",
    "rtcfile",
    "rtconutc",
    "rtcsync",
    "sourcedir",
    "stratumweight",
];
