//! One configuration to read, as `--source` names it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

use super::{Files, Kind, Library, Place, Problem, Reading, Severity, Speaker, apart};
use crate::readers::Readers;

/// A configuration to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The dialect it is written in.
    pub kind: Kind,
    /// Its main file.
    pub path: PathBuf,
    /// Why it is read: which daemon's it is, or that somebody named it.
    pub why: String,
    /// Whether nothing but a running daemon names it, so that it goes with the daemon.
    pub fleeting: bool,
    /// How its files are reached, and whose word they are.
    pub(super) access: Access,
}

/// How a configuration's files are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// As its reader sees them.
    Files(Files),
    /// Below the root directory of a process that has gone since.
    Gone,
    /// Not at all, and why.
    Unread(String),
}

impl Source {
    /// A configuration that was found on this host.
    pub(super) fn found(kind: Kind, path: PathBuf, why: String) -> Self {
        Self {
            kind,
            path,
            why,
            fleeting: false,
            access: Access::Files(Files::of_host(speaker(kind))),
        }
    }

    /// The same as a daemon has it that runs now, among these files.
    pub(super) fn of_running(self, files: Files) -> Self {
        let files = match (self.kind, files.speaker()) {
            (Kind::CommandLine, Speaker::Root) => files.said_by(Speaker::CommandLine),
            _ => files,
        };
        Self {
            fleeting: true,
            access: Access::Files(files),
            ..self
        }
    }

    /// Has one file that two name be read for both, as the word of who counts more.
    pub(super) fn unite(&mut self, other: Self) {
        let why = format!("{}; {}", self.why, other.why);
        let rank = |source: &Self| source.files().map(Library::speaker);
        if rank(&other) < rank(self) {
            *self = other;
        }
        self.why = why;
    }

    /// The same, not to be read.
    pub(super) fn unread(self, why: String) -> Self {
        Self {
            fleeting: true,
            access: Access::Unread(why),
            ..self
        }
    }

    /// The same when its daemon is no longer seen: what it was configured by is not held on to.
    pub(super) fn left(self) -> Self {
        let access = match self.access {
            Access::Files(files) if !files.are_ours() => Access::Gone,
            access => access,
        };
        Self { access, ..self }
    }

    /// The same as the state file has it: what was found then is known by its name alone, which is
    /// not root's word.
    #[must_use]
    pub fn remembered(self) -> Self {
        Self {
            access: Access::Gone,
            ..self
        }
    }

    /// Has `readers` read it; see [`Kind::dialect`] for `serve`.
    pub fn read(&self, readers: &Readers, serve: bool) -> Reading {
        match &self.access {
            Access::Files(files) => apart::read(readers, self.kind, files, &self.path, serve),
            Access::Gone => self.nothing("its daemon is gone", Severity::Unreadable),
            Access::Unread(why) => self.nothing(why, Severity::Note),
        }
    }

    fn nothing(&self, why: &str, severity: Severity) -> Reading {
        let place = Place {
            file: self.path.as_path().into(),
            line: 0,
            column: 0,
        };
        Reading {
            problems: vec![Problem {
                place,
                message: why.to_owned(),
                severity,
            }],
            ..Reading::default()
        }
    }

    /// Its files, if it is read.
    pub(super) fn files(&self) -> Option<&Files> {
        match &self.access {
            Access::Files(files) => Some(files),
            Access::Gone | Access::Unread(_) => None,
        }
    }

    /// Whether it is read at all.
    pub fn is_read(&self) -> bool {
        self.files().is_some()
    }

    /// Whether changes of its files can be watched for. Below another root they are not: see
    /// `ReadingBuilder::watch`.
    pub fn can_be_watched(&self) -> bool {
        let is_ours = self.files().is_some_and(Library::are_ours);
        // A command line does not change, and nothing would tell of it.
        is_ours && self.kind != Kind::CommandLine
    }

    /// Whether it has to be read again and again, since nothing tells of changes.
    pub fn must_be_polled(&self) -> bool {
        self.files().is_some_and(|files| !files.are_ours())
    }

    /// Whether the running daemon that alone names it has gone.
    pub fn has_gone(&self) -> bool {
        let process: PathBuf = self.path.components().take(3).collect();
        let has_no_process = || self.fleeting && process.starts_with("/proc") && !process.exists();
        self.access == Access::Gone || has_no_process()
    }
}

/// Whose word a configuration of this host is before it is known who can write it. A command line is
/// never root's alone, even one that root names: the kernel shows it as its process left it.
const fn speaker(kind: Kind) -> Speaker {
    match kind {
        Kind::CommandLine => Speaker::CommandLine,
        _ => Speaker::Root,
    }
}

/// `DIALECT:FILE`, which [`Source::from_str`] reads again.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.path.display())
    }
}

/// A word that names no configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceError {
    /// It names no file.
    #[error(
        "expected FILE or DIALECT:FILE, where DIALECT is one of {}",
        Kind::names()
    )]
    NoFile,
    /// There is no such dialect, and no such file.
    #[error(
        "unknown dialect {0:?}: expected one of {names}",
        names = Kind::names()
    )]
    UnknownDialect(String),
}

impl FromStr for Source {
    type Err = SourceError;

    /// Reads `FILE` or `DIALECT:FILE`. Without a dialect it is told from the file's name or, for
    /// which the file is read, from its contents.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (kind, path) = match text.split_once(':') {
            Some((before, path)) => {
                match Kind::ALL.into_iter().find(|kind| kind.name() == before) {
                    Some(kind) => (Some(kind), path),
                    // A file's name may have a colon, too.
                    None if before.contains('/') || Path::new(text).exists() => (None, text),
                    None => return Err(SourceError::UnknownDialect(before.to_owned())),
                }
            }
            None => (None, text),
        };
        if path.is_empty() {
            return Err(SourceError::NoFile);
        }
        let path = PathBuf::from(path);
        let files = Files::by_hand(&path, Speaker::Root);
        let kind = kind.unwrap_or_else(|| Kind::guess(&files, &path));
        Ok(Self {
            kind,
            path,
            why: "named with --source".to_owned(),
            fleeting: false,
            access: Access::Files(files.said_by(speaker(kind))),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(root: &Path, file: &str, text: &str) -> PathBuf {
        let path = root.join(file);
        fs::write(&path, text).expect("written");
        path
    }

    #[test]
    fn a_dialect_is_told_from_its_name_the_files_name_or_the_files_contents() {
        let root = tempfile::tempdir().expect("a directory");
        let chrony = write(
            root.path(),
            "a",
            "# mine\npool x\nMakeStep 1 3\nrestrict default\n",
        );
        let ntp = write(
            root.path(),
            "b",
            "driftfile x\nrestrict default\nmakestep 1 3\n",
        );
        let colon = write(root.path(), "c:d", "server x\n");
        let timesyncd = write(root.path(), "d", "# mine\n[Time]\nNTP=x\n");
        let openntpd = write(root.path(), "e", "server x\nlisten on *\n");
        let ntpd_rs = write(root.path(), "f", "[[source]]\nmode = \"pool\"\n");
        for (text, expected) in [
            (chrony.display().to_string(), Kind::Chrony),
            (ntp.display().to_string(), Kind::NtpConf),
            (colon.display().to_string(), Kind::NtpConf),
            (format!("ntp.conf:{}", chrony.display()), Kind::NtpConf),
            (format!("chrony:{}", ntp.display()), Kind::Chrony),
            ("/nowhere/my-chrony.conf".to_owned(), Kind::Chrony),
            ("dhcp.sources".to_owned(), Kind::Chrony),
            ("/nowhere".to_owned(), Kind::NtpConf),
            (timesyncd.display().to_string(), Kind::Timesyncd),
            (openntpd.display().to_string(), Kind::OpenNtpd),
            (ntpd_rs.display().to_string(), Kind::NtpdRs),
            ("/etc/systemd/timesyncd.conf".to_owned(), Kind::Timesyncd),
            ("/etc/openntpd/ntpd.conf".to_owned(), Kind::OpenNtpd),
            ("ntp.toml".to_owned(), Kind::NtpdRs),
            ("ntpd-opts:/etc/conf.d/ntpd".to_owned(), Kind::NtpdOpts),
            ("/proc/1/cmdline".to_owned(), Kind::CommandLine),
        ] {
            let source: Source = text.parse().expect("a source");
            assert_eq!(source.kind, expected, "{text}");
            let again: Source = source.to_string().parse().expect("a source");
            assert_eq!(again, source);
        }
    }

    #[test]
    fn a_source_that_names_nothing_is_refused() {
        for text in ["", "chrony:"] {
            assert_eq!(text.parse::<Source>(), Err(SourceError::NoFile));
        }
        let unknown = SourceError::UnknownDialect("ntpd".to_owned());
        assert_eq!("ntpd:ntpd.conf".parse::<Source>(), Err(unknown));
    }
}
