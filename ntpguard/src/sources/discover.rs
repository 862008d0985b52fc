//! Which configurations this host's time daemons have.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Files, Kind, Library as _, OtherRoot, Problem, Severity, Source, Speaker, apart,
    arguments::Said, container, reading_builder::whole, timesyncd,
};
use crate::{
    processes::{Finding, Namespace, Program, TimeDaemon, time_daemons},
    readers::{ReaderError, Readers},
    trust::Trust,
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

/// The configurations of a host's time daemons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// The configurations.
    pub sources: Vec<Source>,
    /// What keeps running daemons from being believed.
    pub problems: Vec<Problem>,
    /// Whether a command line was not read, so that what it names is missing here.
    pub is_unfinished: bool,
}

/// Finds the configurations under `root`, which is `/` but in tests: those where distributions put
/// them, and those that the command lines of running daemons name. A daemon in a container is read
/// only where that container's cgroup is among `trusted`.
pub fn discover(readers: &Readers, root: &Path, trusted: &[Trust]) -> Discovered {
    // The packets of a daemon in another network namespace pass other interfaces. One in a container
    // of this network counts.
    let proc = root.join("proc");
    let running = time_daemons(&proc, &[Namespace::Network, Namespace::User]);
    let mut found: Vec<Source> = PLACES
        .iter()
        .map(|&(kind, file, why)| {
            let (path, why) = in_place(&Files::of_host(Speaker::Root), root, file, why);
            Source::found(kind, path, why)
        })
        // A link that leads nowhere is there, and worth an error.
        .filter(|source| fs::symlink_metadata(&source.path).is_ok())
        .collect();
    found.extend(of_timesyncd(root));
    let mut problems: Vec<Problem> = running
        .findings
        .iter()
        .map(|finding| problem(&proc, finding))
        .collect();
    let mut of_running = Vec::new();
    let mut is_unfinished = false;
    for daemon in &running.daemons {
        match configured_by(readers, root, daemon, trusted) {
            Ok(sources) => of_running.extend(sources),
            Err(error) => {
                is_unfinished = true;
                problems.push(unread(&proc, daemon, &error));
            }
        }
    }
    for source in of_running {
        match found.iter_mut().find(|known| is_same(known, &source)) {
            Some(known) => known.unite(source),
            None => found.push(source),
        }
    }
    Discovered {
        sources: found,
        problems,
        is_unfinished,
    }
}

/// The finding that a daemon's command line was not read.
fn unread(proc: &Path, daemon: &TimeDaemon, error: &ReaderError) -> Problem {
    Problem {
        place: whole(&proc.join(daemon.pid.to_string()).join("cmdline")),
        message: error.to_string(),
        severity: Severity::Error,
    }
}

/// A finding of the processes as a problem with /proc as a whole.
fn problem(proc: &Path, finding: &Finding) -> Problem {
    Problem {
        place: whole(proc),
        message: finding.to_string(),
        severity: if finding.blinds() {
            Severity::Error
        } else {
            Severity::Note
        },
    }
}

/// The file that counts where `file` is looked for below `root`, and why.
fn in_place(files: &Files, root: &Path, file: &str, why: &str) -> (PathBuf, String) {
    let by_dhcp = OF_DHCP
        .iter()
        .find(|(dhcp, instead_of, _)| *instead_of == file && files.exists(&root.join(dhcp)))
        .filter(|(_, _, defaults)| !ignores_dhcp(files, &root.join(defaults)));
    match by_dhcp {
        Some((dhcp, _, _)) => (
            root.join(dhcp),
            format!("{why}; with the servers from DHCP"),
        ),
        None => (root.join(file), why.to_owned()),
    }
}

/// timesyncd's configuration where it is enabled; where it runs, [`configured_by`] finds it.
fn of_timesyncd(root: &Path) -> Option<Source> {
    let is_enabled = TIMESYNCD_ENABLED
        .iter()
        .any(|link| fs::symlink_metadata(root.join(link)).is_ok());
    let main = timesyncd::main_files(root).next().filter(|_| is_enabled)?;
    let why = "systemd-timesyncd is enabled".to_owned();
    Some(Source::found(Kind::Timesyncd, main, why))
}

/// What a running daemon is configured by, as far as its word counts.
fn configured_by(
    readers: &Readers,
    root: &Path,
    daemon: &TimeDaemon,
    trusted: &[Trust],
) -> Result<Vec<Source>, ReaderError> {
    let is_container = daemon.is_in_container();
    let who = format!("{} is running, pid {}", daemon.program.name(), daemon.pid);
    if is_container && !container::is_trusted(daemon, trusted) {
        let path = root.join("proc").join(daemon.pid.to_string()).join("root");
        let source = Source::found(dialect(daemon.program), path, who);
        return Ok(vec![source.unread(container::unread(daemon))]);
    }
    let own_root = match daemon.own_root().map(|path| OtherRoot::open(&path)) {
        Some(Ok(own_root)) => Some(own_root),
        // It has gone meanwhile.
        Some(Err(_)) => return Ok(Vec::new()),
        None => None,
    };
    let speaker = if is_container {
        Speaker::Container
    } else {
        Speaker::Root
    };
    let (files, below) = match own_root {
        Some(own_root) => {
            let path = own_root.path().to_owned();
            (Files::below(Arc::new(own_root), speaker), path)
        }
        None => (Files::of_host(speaker), root.to_owned()),
    };
    let said = apart::said(readers, daemon.program, &daemon.arguments)?;
    let named = named_by(root, daemon, &said, &files, &below).into_iter();
    Ok(named
        .map(|(kind, path)| Source::found(kind, path, who.clone()).of_running(files.clone()))
        .collect())
}

/// What a daemon's command line names, or what it finds without among `files`, which begin at `below`.
fn named_by(
    root: &Path,
    daemon: &TimeDaemon,
    said: &Said,
    files: &Files,
    below: &Path,
) -> Vec<(Kind, PathBuf)> {
    let mut named = Vec::new();
    if !said.sources.is_empty() {
        let path = root.join("proc").join(daemon.pid.to_string());
        named.push((Kind::CommandLine, path.join("cmdline")));
    }
    let kind = dialect(daemon.program);
    // A chronyd that is given directives reads no file.
    let reads_files = daemon.program != Program::Chronyd || said.sources.is_empty();
    match said.file.as_deref().filter(|file| *file != "/dev/null") {
        _ if !reads_files => {}
        Some(file) => named.push((kind, daemon.path_of(file))),
        None => named.extend(usual(files, below, kind).map(|path| (kind, path))),
    }
    named
}

const fn dialect(program: Program) -> Kind {
    match program {
        Program::Chronyd => Kind::Chrony,
        Program::NtpdRs => Kind::NtpdRs,
        Program::OpenNtpd => Kind::OpenNtpd,
        Program::Ntpd => Kind::NtpConf,
        Program::BusyboxNtpd => Kind::NtpdOpts,
        Program::Timesyncd => Kind::Timesyncd,
    }
}

/// Where a daemon that is told nothing else finds its configuration below `root`.
fn usual(files: &Files, root: &Path, kind: Kind) -> impl Iterator<Item = PathBuf> {
    let places = PLACES
        .iter()
        .filter(move |(of, file, _)| *of == kind && files.exists(&root.join(file)))
        .map(move |(_, file, why)| in_place(files, root, file, why).0);
    let of_timesyncd = timesyncd::main_files(root).next();
    places.chain(of_timesyncd.filter(move |_| kind == Kind::Timesyncd))
}

/// Whether two sources are one file. What timesyncd reads besides it depends on the path.
fn is_same(one: &Source, other: &Source) -> bool {
    let identity = |source: &Source| source.files()?.identity(&source.path);
    let is_one_file = || identity(one).is_some() && identity(one) == identity(other);
    one.kind == other.kind
        && (one.path == other.path || one.kind != Kind::Timesyncd && is_one_file())
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
fn ignores_dhcp(files: &Files, path: &Path) -> bool {
    let Ok(file) = files.read(path) else {
        return false;
    };
    let lines = file.text.lines();
    lines
        .filter_map(|line| line.trim().strip_prefix("IGNORE_DHCP="))
        .next_back()
        .and_then(|value| value.split_ascii_whitespace().next())
        .is_some_and(|value| value.trim_matches(['"', '\'']) == "yes")
}

#[cfg(test)]
mod tests;
