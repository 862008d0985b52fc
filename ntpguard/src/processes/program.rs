//! The programs that are time daemons, and how they are told.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A time daemon's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// chronyd.
    Chronyd,
    /// The classic ntpd, or NTPsec's.
    Ntpd,
    /// OpenNTPD.
    OpenNtpd,
    /// busybox, called as ntpd.
    BusyboxNtpd,
    /// ntpd-rs.
    NtpdRs,
    /// systemd-timesyncd.
    Timesyncd,
}

/// The file name of the program that is many, a time daemon among them.
pub(super) const BUSYBOX: &str = "busybox";

/// The file names of programs that can be time daemons.
pub(super) const FILES: [&str; 6] = [
    "chronyd",
    "ntpd",
    "openntpd",
    BUSYBOX,
    "ntp-daemon",
    "systemd-timesyncd",
];

/// The file name in the target of a `/proc/PID/exe`, if it is among those of time daemons.
pub(super) fn file_name(exe: &Path) -> Option<&'static str> {
    let name = without_deleted(exe.file_name()?.to_str()?);
    FILES.into_iter().find(|file| *file == name)
}

/// The file that a process named `comm` may run: the kernel cuts names off after 15 bytes.
pub(super) fn file_of_comm(comm: &str) -> Option<&'static str> {
    const LENGTH: usize = 15;
    let cut = |file: &str| file[..file.len().min(LENGTH)] == *comm;
    FILES.into_iter().find(|file| cut(file))
}

/// A path without the mark of a program that an upgrade has put another in the place of.
pub(super) fn without_deleted(path: &str) -> &str {
    path.strip_suffix(" (deleted)").unwrap_or(path)
}

/// A process's arguments, from the text of its `/proc/PID/cmdline`: its name first, without
/// busybox's before it.
pub(super) fn arguments(file: &str, cmdline: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(cmdline);
    let mut arguments: Vec<String> = text
        .trim_end_matches('\0')
        .split('\0')
        .map(str::to_owned)
        .collect();
    let is_busybox = file == BUSYBOX && arguments.first().is_some_and(|name| base(name) == file);
    if is_busybox {
        arguments.remove(0);
    }
    arguments
}

impl Program {
    /// The program that `file` is when it is called with `arguments`, its name first.
    pub(super) fn of(file: &str, arguments: &[String]) -> Option<Self> {
        match file {
            "chronyd" => Some(Self::Chronyd),
            "ntpd" if names_openntpds_file(arguments) => Some(Self::OpenNtpd),
            "ntpd" => Some(Self::Ntpd),
            "openntpd" => Some(Self::OpenNtpd),
            BUSYBOX if base(arguments.first()?) == "ntpd" => Some(Self::BusyboxNtpd),
            "ntp-daemon" => Some(Self::NtpdRs),
            "systemd-timesyncd" => Some(Self::Timesyncd),
            _ => None,
        }
    }

    /// The program's name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chronyd => "chronyd",
            Self::Ntpd => "ntpd",
            Self::OpenNtpd => "OpenNTPD",
            Self::BusyboxNtpd => "busybox ntpd",
            Self::NtpdRs => "ntpd-rs",
            Self::Timesyncd => "systemd-timesyncd",
        }
    }
}

/// Whether an ntpd is given its configuration with `-f`, as OpenNTPD's is. To the others that is the
/// drift file's option.
fn names_openntpds_file(arguments: &[String]) -> bool {
    arguments.windows(2).any(|pair| {
        let option = pair[0]
            .strip_prefix('-')
            .and_then(|option| option.strip_suffix('f'));
        let is_option =
            option.is_some_and(|flags| flags.chars().all(|flag| "dnsSv".contains(flag)));
        is_option && is_conf(&pair[1])
    })
}

/// Whether a file's name is that of a configuration.
pub(crate) fn is_conf(file: &str) -> bool {
    Path::new(file)
        .extension()
        .is_some_and(|extension| extension == "conf")
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(exe: &str, arguments: &[&str]) -> Option<Program> {
        let file = file_name(Path::new(exe))?;
        let cmdline = arguments.join("\0") + "\0";
        Program::of(file, &super::arguments(file, cmdline.as_bytes()))
    }

    #[test]
    fn programs_go_by_their_file_names() {
        let chronyd = Some(Program::Chronyd);
        assert_eq!(program("/usr/sbin/chronyd", &["anything"]), chronyd);
        assert_eq!(program("/usr/sbin/chronyd (deleted)", &[]), chronyd);
        assert_eq!(program("/usr/bin/chronyc", &["chronyd"]), None);
    }

    #[test]
    fn one_file_name_may_be_several_programs() {
        let ntpd = |arguments: &[&str]| program("/usr/sbin/ntpd", arguments);
        assert_eq!(ntpd(&["ntpd", "-f", "ntp.drift"]), Some(Program::Ntpd));
        assert_eq!(ntpd(&["ntpd", "-sf", "/x.conf"]), Some(Program::OpenNtpd));
        let busybox = |arguments: &[&str]| program("/bin/busybox", arguments);
        let as_ntpd = Some(Program::BusyboxNtpd);
        assert_eq!(busybox(&["busybox", "ntpd", "-n"]), as_ntpd);
        assert_eq!(busybox(&["/usr/sbin/ntpd", "-n"]), as_ntpd);
        assert_eq!(busybox(&["busybox", "sh"]), None);
    }
}
