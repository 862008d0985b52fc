//! Which configurations this host's time daemons have.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Kind, Place, Problem, Severity, Source, arguments::said, files, timesyncd};
use crate::processes::{Finding, Namespace, Program, TimeDaemon, time_daemons};

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

/// The configurations of a host's time daemons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// The configurations.
    pub sources: Vec<Source>,
    /// What keeps running daemons from being believed.
    pub problems: Vec<Problem>,
}

/// Finds the configurations under `root`, which is `/` but in tests: those where distributions put
/// them, and those that the command lines of running daemons name.
pub fn discover(root: &Path) -> Discovered {
    // The packets of a daemon in another network namespace pass other interfaces. One in a container
    // of this network counts.
    let proc = root.join("proc");
    let running = time_daemons(&proc, &[Namespace::Network, Namespace::User]);
    let mut found: Vec<Source> = PLACES
        .iter()
        .map(|&(kind, file, why)| in_place(root, kind, file, why))
        // A link that leads nowhere is there, and worth an error.
        .filter(|source| fs::symlink_metadata(&source.path).is_ok())
        .collect();
    found.extend(of_timesyncd(root));
    let named = running.daemons.iter();
    for source in named.flat_map(|daemon| named_by(root, daemon)) {
        match found.iter_mut().find(|known| is_same(known, &source)) {
            Some(known) => known.why = format!("{}; {}", known.why, source.why),
            None => found.push(source),
        }
    }
    let problems = running.findings.iter();
    Discovered {
        sources: found,
        problems: problems.map(|finding| problem(&proc, finding)).collect(),
    }
}

/// A finding of the processes as a problem with /proc as a whole.
fn problem(proc: &Path, finding: &Finding) -> Problem {
    Problem {
        place: Place {
            file: proc.into(),
            line: 0,
            column: 0,
        },
        message: finding.to_string(),
        severity: if finding.blinds() {
            Severity::Error
        } else {
            Severity::Note
        },
    }
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
            format!("{why}; with the servers that DHCP named"),
        ),
        None => source(kind, root.join(file), why.to_owned()),
    }
}

/// timesyncd's configuration where it is enabled; where it runs, [`named_by`] finds it.
fn of_timesyncd(root: &Path) -> Option<Source> {
    let is_enabled = TIMESYNCD_ENABLED
        .iter()
        .any(|link| fs::symlink_metadata(root.join(link)).is_ok());
    let main = timesyncd::main_files(root).next().filter(|_| is_enabled)?;
    let why = "systemd-timesyncd is enabled".to_owned();
    Some(source(Kind::Timesyncd, main, why))
}

/// What a running daemon is configured by: what its command line names, or what it finds without.
fn named_by(root: &Path, daemon: &TimeDaemon) -> Vec<Source> {
    let said = said(daemon.program, &daemon.arguments);
    let mut named = Vec::new();
    if !said.sources.is_empty() {
        let path = root.join("proc").join(daemon.pid.to_string());
        named.push((Kind::CommandLine, path.join("cmdline")));
    }
    let kind = match daemon.program {
        Program::Chronyd => Kind::Chrony,
        Program::NtpdRs => Kind::NtpdRs,
        Program::OpenNtpd => Kind::OpenNtpd,
        Program::Ntpd => Kind::NtpConf,
        Program::BusyboxNtpd => Kind::NtpdOpts,
        Program::Timesyncd => Kind::Timesyncd,
    };
    // A chronyd that is given directives reads no file.
    let reads_files = daemon.program != Program::Chronyd || said.sources.is_empty();
    match said.file.filter(|file| file != "/dev/null") {
        _ if !reads_files => {}
        Some(file) => named.push((kind, daemon.path_of(&file))),
        None => {
            let own_root = daemon.own_root();
            let root = own_root.as_deref().unwrap_or(root);
            named.extend(usual(root, kind).map(|path| (kind, path)));
        }
    }
    let who = format!("{} runs, pid {}", daemon.program.name(), daemon.pid);
    named
        .into_iter()
        .map(|(kind, path)| Source {
            fleeting: true,
            ..source(kind, path, who.clone())
        })
        .collect()
}

/// Where a daemon that is told nothing else finds its configuration below `root`.
fn usual(root: &Path, kind: Kind) -> impl Iterator<Item = PathBuf> {
    let places = PLACES
        .iter()
        .filter(move |(of, file, _)| *of == kind && root.join(file).exists())
        .map(move |(kind, file, why)| in_place(root, *kind, file, why).path);
    let of_timesyncd = timesyncd::main_files(root).next();
    places.chain(of_timesyncd.filter(move |_| kind == Kind::Timesyncd))
}

/// Whether two sources are one file. What timesyncd reads besides it depends on the path.
fn is_same(one: &Source, other: &Source) -> bool {
    let identity = |source: &Source| files::read(&source.path).ok().map(|(identity, _)| identity);
    let is_one_file = || identity(one).is_some() && identity(one) == identity(other);
    one.kind == other.kind
        && (one.path == other.path || one.kind != Kind::Timesyncd && is_one_file())
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
