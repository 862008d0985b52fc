//! The time daemons that are trusted without being named.

/// Their systemd units, as Debian, Ubuntu, Fedora, Arch and openSUSE call them.
pub const UNITS: [&str; 9] = [
    "chrony.service",
    "chronyd.service",
    "ntp.service",
    "ntpd.service",
    "ntpsec.service",
    "ntpd-rs.service",
    "openntpd.service",
    "openntpd-server.service",
    "systemd-timesyncd.service",
];

/// Their programs, by file name.
pub const PROGRAMS: [&str; 5] = [
    "chronyd",
    "ntpd",
    "openntpd",
    "ntp-daemon",
    "systemd-timesyncd",
];

/// The first uid of people; system accounts are below it (`UID_MIN` of login.defs).
pub const FIRST_HUMAN: u32 = 1_000;
