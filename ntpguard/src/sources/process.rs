//! Time daemons that run on this host, and what their command lines say.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::senders::process::is_of_the_system;

/// A time daemon's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Chronyd,
    /// The classic ntpd, or NTPsec's.
    Ntpd,
    OpenNtpd,
    BusyboxNtpd,
    NtpdRs,
    Timesyncd,
}

/// A running time daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) program: Program,
    /// With its name, and without the name of busybox before it.
    pub(super) arguments: Vec<String>,
    /// Where its relative file names begin.
    directory: PathBuf,
    /// Its root directory as `/proc/PID/root` where it sees other files than this process does, as
    /// in a container.
    pub(super) own_root: Option<PathBuf>,
}

/// An argument, and which one of all it is, counted from 1.
pub(super) type Argument = (String, u32);

/// What a command line says that matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The configuration file.
    pub(super) file: Option<String>,
    /// The arguments that name servers, or with chronyd are lines of a configuration.
    pub(super) sources: Vec<Argument>,
}

impl Process {
    /// Reads a process from its directory in /proc; `None` if it is no time daemon, or gone.
    pub(super) fn read(directory: &Path) -> Option<Self> {
        let pid = directory.file_name()?.to_str()?.parse().ok()?;
        let program = fs::read_link(directory.join("exe")).ok()?;
        let program = program.file_name()?.to_str()?;
        // An upgrade has put another program in its place.
        let program = program.strip_suffix(" (deleted)").unwrap_or(program);
        if !PROGRAMS.contains(&program) {
            return None;
        }
        let bytes = fs::read(directory.join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let mut arguments: Vec<String> = text
            .trim_end_matches('\0')
            .split('\0')
            .map(str::to_owned)
            .collect();
        if program == "busybox"
            && arguments
                .first()
                .is_some_and(|name| base(name) == "busybox")
        {
            arguments.remove(0);
        }
        let program = Program::of(program, &arguments)?;
        Some(Self {
            pid,
            program,
            arguments,
            directory: fs::read_link(directory.join("cwd")).unwrap_or_else(|_| "/".into()),
            own_root: own_root(directory),
        })
    }

    /// The path of a file that it calls `name`.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        let path = self.directory.join(name);
        match &self.own_root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(&path)),
            None => path,
        }
    }

    /// What its command line says.
    pub(super) fn said(&self) -> Said {
        said(self.program, &self.arguments)
    }
}

/// The root of a process that sees other configurations than we do. Services with private directories
/// have mounts of their own, too, and see the same.
fn own_root(process: &Path) -> Option<PathBuf> {
    let ours = process.ancestors().nth(2)?;
    let root = process.join("root");
    let identity = |directory: PathBuf| {
        fs::metadata(directory)
            .ok()
            .map(|metadata| (metadata.dev(), metadata.ino()))
    };
    let is_same = |name| identity(ours.join(name)) == identity(root.join(name));
    let differs = root.exists() && !["etc", "run"].into_iter().all(is_same);
    differs.then_some(root)
}

/// The programs that can be time daemons.
const PROGRAMS: [&str; 6] = [
    "chronyd",
    "ntpd",
    "openntpd",
    "busybox",
    "ntp-daemon",
    "systemd-timesyncd",
];

impl Program {
    /// The program that `file` is when it is called with `arguments`, its name first.
    fn of(file: &str, arguments: &[String]) -> Option<Self> {
        match file {
            "chronyd" => Some(Self::Chronyd),
            "ntpd" if names_openntpds_file(arguments) => Some(Self::OpenNtpd),
            "ntpd" => Some(Self::Ntpd),
            "openntpd" => Some(Self::OpenNtpd),
            "busybox" if base(arguments.first()?) == "ntpd" => Some(Self::BusyboxNtpd),
            "ntp-daemon" => Some(Self::NtpdRs),
            "systemd-timesyncd" => Some(Self::Timesyncd),
            _ => None,
        }
    }

    /// The program's name for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Chronyd => "chronyd",
            Self::Ntpd => "ntpd",
            Self::OpenNtpd => "OpenNTPD",
            Self::BusyboxNtpd => "busybox ntpd",
            Self::NtpdRs => "ntpd-rs",
            Self::Timesyncd => "systemd-timesyncd",
        }
    }

    /// Its options that a value follows, by their letters.
    const fn with_value(self) -> &'static str {
        match self {
            // chrony 4, main.c
            Self::Chronyd => "fFlLPtu",
            // The classic ntpd's ntpd-opts.def and NTPsec's ntpd.c, both.
            Self::Ntpd => "cDfiIklpPrstuUvVw",
            Self::OpenNtpd => "fp",
            // busybox's networking/ntpd.c
            Self::BusyboxNtpd => "pSkI",
            Self::NtpdRs => "cl",
            Self::Timesyncd => "",
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

/// Reads a command line, the name of the program first.
pub(super) fn said(program: Program, arguments: &[String]) -> Said {
    let mut said = Said::default();
    let mut rest = arguments.iter().cloned().zip(1..).skip(1);
    let mut ended = false;
    while let Some((argument, number)) = rest.next() {
        if ended || !argument.starts_with('-') || argument == "-" {
            said.sources.push((argument, number));
        } else if argument == "--" {
            ended = true;
        } else if let Some(long) = argument.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some((value.to_owned(), number))),
                None => (long, None),
            };
            let letter = match name {
                "config" | "configfile" => 'c',
                _ => continue,
            };
            if let Some(value) = value.or_else(|| rest.next()) {
                option(&mut said, program, letter, value);
            }
        } else {
            letters(&mut said, program, (&argument[1..], number), &mut rest);
        }
    }
    match program {
        Program::BusyboxNtpd | Program::Chronyd | Program::Ntpd => {}
        _ => said.sources.clear(),
    }
    said
}

/// Reads `-xyzVALUE` or `-xyz VALUE`.
fn letters(
    said: &mut Said,
    program: Program,
    (letters, number): (&str, u32),
    rest: &mut impl Iterator<Item = Argument>,
) {
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        if !program.with_value().contains(letter) {
            continue;
        }
        let value = match letters.as_str() {
            "" => rest.next(),
            attached => Some((attached.to_owned(), number)),
        };
        if let Some(value) = value {
            option(said, program, letter, value);
        }
        return;
    }
}

fn option(said: &mut Said, program: Program, letter: char, value: Argument) {
    match (program, letter) {
        (Program::Chronyd | Program::OpenNtpd, 'f') | (Program::Ntpd | Program::NtpdRs, 'c') => {
            said.file = Some(value.0);
        }
        (Program::BusyboxNtpd, 'p') => {
            // keyno:NUMBER:PEER
            let (peer, number) = value;
            let peer = match peer.strip_prefix("keyno:") {
                Some(keyed) => keyed
                    .split_once(':')
                    .map_or("", |(_, peer)| peer)
                    .to_owned(),
                None => peer,
            };
            said.sources.push((peer, number));
        }
        _ => {}
    }
}

/// Whether a file's name is that of a configuration.
pub(super) fn is_conf(file: &str) -> bool {
    Path::new(file)
        .extension()
        .is_some_and(|extension| extension == "conf")
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The time daemons that run in this process's network namespace, as `proc` shows them. The packets
/// of others pass other interfaces. One that people may have started, or a container of theirs, says
/// nothing: its command line is their word.
pub(super) fn running(proc: &Path) -> Vec<Process> {
    let namespaces = |process: &Path| {
        ["net", "user"].map(|kind| fs::read_link(process.join("ns").join(kind)).ok())
    };
    let ours = namespaces(&proc.join("self"));
    let Ok(entries) = fs::read_dir(proc) else {
        return Vec::new();
    };
    let mut found: Vec<Process> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter_map(|path| Some((Process::read(&path)?, path)))
        .filter(|(_, path)| namespaces(path) == ours && is_of_the_system(path))
        .map(|(process, _)| process)
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(program: Program, line: &str) -> Said {
        let arguments: Vec<String> = line.split('|').map(str::to_owned).collect();
        said(program, &arguments)
    }

    #[test]
    fn command_lines_say_which_file_and_which_servers() {
        for (program, line, file, sources) in [
            (Program::Chronyd, "chronyd|-F|1", None, vec![]),
            (
                Program::Chronyd,
                "chronyd|-dx|-f|/etc/c.conf|-u|root",
                Some("/etc/c.conf"),
                vec![],
            ),
            (
                Program::Chronyd,
                "chronyd|-q|server a.example iburst|makestep 1 3",
                None,
                vec![("server a.example iburst", 3), ("makestep 1 3", 4)],
            ),
            (
                Program::Ntpd,
                "ntpd|-p|/run/ntpd.pid|-c|/run/ntp.conf.dhcp|-g|-N|-u|ntpsec:ntpsec",
                Some("/run/ntp.conf.dhcp"),
                vec![],
            ),
            (
                Program::Ntpd,
                "ntpd|-gc/x.conf|a.example|-f|/var/ntp.drift|b.example",
                Some("/x.conf"),
                vec![("a.example", 3), ("b.example", 6)],
            ),
            (
                Program::Ntpd,
                "ntpd|--configfile=/x|--|-odd",
                Some("/x"),
                vec![("-odd", 4)],
            ),
            (
                Program::OpenNtpd,
                "openntpd|-sf|ntpd.conf",
                Some("ntpd.conf"),
                vec![],
            ),
            (
                Program::BusyboxNtpd,
                "ntpd|-N|-p|a.example|-pb.example|-p|keyno:7:c.example|-l",
                None,
                vec![("a.example", 4), ("b.example", 5), ("c.example", 7)],
            ),
            (
                Program::NtpdRs,
                "ntp-daemon|--config|/x.toml",
                Some("/x.toml"),
                vec![],
            ),
            (
                Program::NtpdRs,
                "ntp-daemon|-c|/x.toml|junk",
                Some("/x.toml"),
                vec![],
            ),
            (Program::Timesyncd, "systemd-timesyncd", None, vec![]),
        ] {
            let expected = Said {
                file: file.map(str::to_owned),
                sources: sources
                    .into_iter()
                    .map(|(text, number)| (text.to_owned(), number))
                    .collect(),
            };
            assert_eq!(read(program, line), expected, "{line}");
        }
    }

    #[test]
    fn a_command_line_that_ends_early_says_less() {
        assert_eq!(read(Program::Ntpd, "ntpd|-c"), Said::default());
        assert_eq!(read(Program::Ntpd, "ntpd|--configfile"), Said::default());
        assert_eq!(said(Program::Ntpd, &[]), Said::default());
    }
}
