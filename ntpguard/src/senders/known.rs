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
