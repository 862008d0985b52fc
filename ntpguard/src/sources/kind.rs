//! The dialects, and how they are told apart.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Dialect, Files, Library as _,
    chrony::{Chrony, keywords::is_chronys},
    command_line::{CommandLine, NtpdOpts},
    ntp_conf::NtpConf,
    ntpd_rs::NtpdRs,
    openntpd::OpenNtpd,
    timesyncd::Timesyncd,
};
use crate::processes::is_conf;

/// A dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// ntp.conf, of the classic ntpd and NTPsec.
    #[serde(rename = "ntp.conf")]
    NtpConf,
    /// chrony.conf.
    #[serde(rename = "chrony")]
    Chrony,
    /// timesyncd.conf, of systemd-timesyncd.
    #[serde(rename = "timesyncd")]
    Timesyncd,
    /// ntpd.conf, of OpenNTPD.
    #[serde(rename = "openntpd")]
    OpenNtpd,
    /// ntp.toml, of ntpd-rs.
    #[serde(rename = "ntpd-rs")]
    NtpdRs,
    /// An init script's settings, with the options of busybox's ntpd.
    #[serde(rename = "ntpd-opts")]
    NtpdOpts,
    /// The command line of a running daemon, `/proc/PID/cmdline`.
    #[serde(rename = "command-line")]
    CommandLine,
}

impl Kind {
    /// Every dialect.
    pub const ALL: [Self; 7] = [
        Self::NtpConf,
        Self::Chrony,
        Self::Timesyncd,
        Self::OpenNtpd,
        Self::NtpdRs,
        Self::NtpdOpts,
        Self::CommandLine,
    ];

    /// The dialect's reader. `serve` says that whoever may ask for the time by a daemon's default
    /// alone is to be served.
    pub fn dialect(self, serve: bool) -> Box<dyn Dialect> {
        match self {
            Self::NtpConf => Box::new(NtpConf { serve }),
            Self::Chrony => Box::new(Chrony),
            Self::Timesyncd => Box::new(Timesyncd),
            Self::OpenNtpd => Box::new(OpenNtpd),
            Self::NtpdRs => Box::new(NtpdRs),
            Self::NtpdOpts => Box::new(NtpdOpts),
            Self::CommandLine => Box::new(CommandLine),
        }
    }

    /// The dialect's name, as `--source NAME:FILE` has it.
    pub fn name(self) -> &'static str {
        self.dialect(false).name()
    }

    /// The names of all dialects, for an error.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Guesses the dialect of a file: by its name, else by the first line that only one dialect
    /// has, else ntp.conf.
    pub(super) fn guess(files: &Files, path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::of_name(&name).unwrap_or_else(|| {
            files
                .read(path)
                .ok()
                .and_then(|file| file.text.lines().find_map(Self::of_line))
                .unwrap_or(Self::NtpConf)
        })
    }

    fn of_name(name: &str) -> Option<Self> {
        if name.contains("chrony") || name.ends_with(".sources") {
            Some(Self::Chrony)
        } else if name.contains("timesyncd") && is_conf(name) {
            Some(Self::Timesyncd)
        } else if name == "ntp.toml" {
            Some(Self::NtpdRs)
        } else if name == "ntpd.conf" {
            Some(Self::OpenNtpd)
        } else if name == "cmdline" {
            Some(Self::CommandLine)
        } else {
            None
        }
    }

    fn of_line(line: &str) -> Option<Self> {
        let word = line.split_ascii_whitespace().next()?;
        let small = word.to_ascii_lowercase();
        if NTP_CONF_ALONE.contains(&word) {
            Some(Self::NtpConf)
        } else if is_chronys(&small) {
            Some(Self::Chrony)
        } else if OPENNTPD_ALONE.contains(&word) {
            Some(Self::OpenNtpd)
        } else if word == "[Time]" {
            Some(Self::Timesyncd)
        } else if word.starts_with("[[") {
            Some(Self::NtpdRs)
        } else if word.starts_with("NTPD_OPTS=") {
            Some(Self::NtpdOpts)
        } else {
            None
        }
    }
}

/// Directives that only OpenNTPD's ntpd.conf has.
const OPENNTPD_ALONE: &[&str] = &[
    "constraint",
    "constraints",
    "listen",
    "query",
    "sensor",
    "servers",
];

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
