//! Which configurations this host's time daemons have.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Kind, Source, files,
    process::{self, Process, Program},
    timesyncd,
};

/// A file where distributions put it, and whose it is.
const PLACES: &[(Kind, &str, &str)] = &[
    (Kind::NtpConf, "etc/ntp.conf", "ntpd's configuration"),
    (
        Kind::NtpConf,
        "etc/ntpsec/ntp.conf",
        "NTPsec's configuration on Debian and its descendants",
    ),
    (Kind::Chrony, "etc/chrony.conf", "chronyd's configuration"),
    (
        Kind::Chrony,
        "etc/chrony/chrony.conf",
        "chronyd's configuration on Debian, its descendants, and Alpine",
    ),
    (
        Kind::OpenNtpd,
        "etc/openntpd/ntpd.conf",
        "OpenNTPD's configuration on Debian and its descendants",
    ),
    (Kind::OpenNtpd, "etc/ntpd.conf", "OpenNTPD's configuration"),
    (
        Kind::NtpdRs,
        "etc/ntpd-rs/ntp.toml",
        "ntpd-rs's configuration",
    ),
    (
        Kind::NtpdOpts,
        "etc/conf.d/ntpd",
        "the options of busybox's ntpd on Alpine",
    ),
];

/// Files that Debian's services start with instead of another where DHCP named servers: the one,
/// the other, and where `IGNORE_DHCP=yes` says not to.
const OF_DHCP: &[(&str, &str, &str)] = &[
    (
        "run/ntpsec/ntp.conf.dhcp",
        "etc/ntpsec/ntp.conf",
        "etc/default/ntpsec",
    ),
    ("run/ntp.conf.dhcp", "etc/ntp.conf", "etc/default/ntp"),
];

/// What systemd makes when timesyncd is enabled. Its files are on many hosts that do not use it.
const TIMESYNCD_ENABLED: [&str; 2] = [
    "etc/systemd/system/sysinit.target.wants/systemd-timesyncd.service",
    "etc/systemd/system/dbus-org.freedesktop.timesync1.service",
];

/// Finds the configurations under `root`, which is `/` but in tests: those where distributions put
/// them, and those that the command lines of running daemons name.
pub fn discover(root: &Path) -> Vec<Source> {
    let running = process::running(&root.join("proc"));
    let mut found: Vec<Source> = PLACES
        .iter()
        .map(|&(kind, file, why)| in_place(root, kind, file, why))
        // A link that leads nowhere is there, and worth an error.
        .filter(|source| fs::symlink_metadata(&source.path).is_ok())
        .collect();
    found.extend(of_timesyncd(root, &running));
    for source in running.iter().flat_map(|process| named_by(root, process)) {
        match found.iter_mut().find(|known| is_same(known, &source)) {
            Some(known) => known.why = format!("{}; {}", known.why, source.why),
            None => found.push(source),
        }
    }
    found
}

fn in_place(root: &Path, kind: Kind, file: &str, why: &str) -> Source {
    let by_dhcp = OF_DHCP
        .iter()
        .find(|(dhcp, instead_of, _)| *instead_of == file && root.join(dhcp).exists())
        .filter(|(_, _, defaults)| !ignores_dhcp(&root.join(defaults)));
    match by_dhcp {
        Some((dhcp, _, _)) => source(
            kind,
            root.join(dhcp),
            format!("{why}, with the servers that DHCP named"),
        ),
        None => source(kind, root.join(file), why.to_owned()),
    }
}

fn of_timesyncd(root: &Path, running: &[Process]) -> Option<Source> {
    let runs = running
        .iter()
        .find(|process| process.program == Program::Timesyncd);
    let is_enabled = TIMESYNCD_ENABLED
        .iter()
        .any(|link| fs::symlink_metadata(root.join(link)).is_ok());
    let why = match runs {
        Some(process) => format!("systemd-timesyncd runs, pid {}", process.pid),
        None if is_enabled => "systemd-timesyncd is enabled".to_owned(),
        None => return None,
    };
    let main = timesyncd::main_files(root).next()?;
    Some(source(Kind::Timesyncd, main, why))
}

/// What the command line of a running daemon names.
fn named_by(root: &Path, process: &Process) -> Vec<Source> {
    let said = process.said();
    let who = format!(
        "{} runs with it, pid {}",
        process.program.name(),
        process.pid
    );
    let mut named = Vec::new();
    if !said.sources.is_empty() {
        let path = root.join("proc").join(process.pid.to_string());
        named.push((Kind::CommandLine, path.join("cmdline")));
    }
    // A chronyd that is given directives reads no file.
    let reads_files = process.program != Program::Chronyd || said.sources.is_empty();
    if let Some(file) = said.file.filter(|file| reads_files && file != "/dev/null") {
        let kind = match process.program {
            Program::Chronyd => Kind::Chrony,
            Program::NtpdRs => Kind::NtpdRs,
            Program::OpenNtpd => Kind::OpenNtpd,
            _ => Kind::NtpConf,
        };
        named.push((kind, process.directory.join(file)));
    }
    named
        .into_iter()
        .map(|(kind, path)| Source {
            fleeting: true,
            ..source(kind, path, who.clone())
        })
        .collect()
}

fn is_same(one: &Source, other: &Source) -> bool {
    let real = |source: &Source| source.path.canonicalize().ok();
    one.kind == other.kind
        && (one.path == other.path || real(one).is_some() && real(one) == real(other))
}

fn source(kind: Kind, path: PathBuf, why: String) -> Source {
    Source {
        kind,
        path,
        why,
        fleeting: false,
    }
}

/// The files whose coming and going changes what [`discover()`] finds.
pub fn places(root: &Path) -> Vec<PathBuf> {
    let files = PLACES.iter().map(|&(_, file, _)| file);
    let of_dhcp = OF_DHCP
        .iter()
        .flat_map(|&(dhcp, _, defaults)| [dhcp, defaults]);
    files
        .chain(of_dhcp)
        .chain(TIMESYNCD_ENABLED)
        .map(|file| root.join(file))
        .collect()
}

/// Whether a file of shell assignments says `IGNORE_DHCP=yes`.
fn ignores_dhcp(path: &Path) -> bool {
    let Ok((_, text)) = files::read(path) else {
        return false;
    };
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("IGNORE_DHCP="))
        .next_back()
        .and_then(|value| value.split_ascii_whitespace().next())
        .is_some_and(|value| value.trim_matches(['"', '\'']) == "yes")
}

#[cfg(test)]
mod tests;
