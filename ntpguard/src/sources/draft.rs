//! A reading in the making.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;
use ntpguard_common::{ntp, tables::Role};

use super::{
    Channel, Family, Host, Place, Problem, Reading, Severity, Want,
    files::{self, FileError, Identity, MAX_BYTES},
    host,
};

/// Most files of one configuration.
const MAX_FILES: usize = 1_000;
/// Most bytes of one configuration, all files together.
const MAX_TOTAL: u64 = 16 * MAX_BYTES;
/// Most notes and errors that are kept: nobody reads more, and rubbish has one a line.
const MAX_PROBLEMS: usize = 200;

/// A reading in the making, and the files it is made of.
pub(super) struct Draft {
    reading: Reading,
    main: Arc<Path>,
    /// The file being read, after those that include it.
    open: Vec<Identity>,
    /// How many files and bytes were read so far.
    files: usize,
    bytes: u64,
    /// Notes and errors beyond those that are kept.
    more: usize,
}

impl Draft {
    pub(super) fn new(main: &Path) -> Self {
        Self {
            reading: Reading::default(),
            main: main.into(),
            open: Vec::new(),
            files: 0,
            bytes: 0,
            more: 0,
        }
    }

    /// Gives the text of `path`, or tells why not. `from` is the place that includes it.
    ///
    /// Each text must be given back with [`close`](Self::close) when its lines are done.
    pub(super) fn open(&mut self, path: &Path, from: Option<&Place>) -> Option<String> {
        self.watch(path);
        if self.files >= MAX_FILES || self.bytes >= MAX_TOTAL {
            self.error(
                from.cloned().unwrap_or_else(|| whole(path)),
                format!(
                    "{} is left out: this configuration has over {MAX_FILES} files or 16 MiB",
                    path.display()
                ),
            );
            return None;
        }
        self.files += 1;
        match files::read(path) {
            Ok((identity, _)) if self.open.contains(&identity) => {
                let place = from.cloned().unwrap_or_else(|| whole(path));
                self.error(
                    place,
                    format!("{} includes itself: left out", path.display()),
                );
                None
            }
            Ok((identity, text)) => {
                self.bytes += text.len() as u64;
                self.open.push(identity);
                Some(text)
            }
            Err(error) => {
                self.unreadable(path, &error, from);
                None
            }
        }
    }

    /// Ends the file that was opened last.
    pub(super) fn close(&mut self) {
        self.open.pop();
    }

    /// How many files are open: 1 in the main one.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// The files of a directory whose names end in `suffix`, in ASCII order; none if there is no
    /// such directory.
    pub(super) fn directory(
        &mut self,
        directory: &Path,
        suffix: &str,
        from: Option<&Place>,
    ) -> Vec<PathBuf> {
        self.watch(directory);
        // One more than are read, so that the limit is noticed and told.
        match files::entries(directory, suffix, MAX_FILES + 1) {
            Ok(found) => found,
            Err(FileError::Missing) => Vec::new(),
            Err(error) => {
                self.unreadable(directory, &error, from);
                Vec::new()
            }
        }
    }

    /// The files that a glob(3) pattern finds, in order.
    pub(super) fn glob(&mut self, pattern: &Path, from: &Place) -> Vec<PathBuf> {
        self.watch(&files::directory_of_pattern(pattern));
        let mut text = pattern.to_string_lossy().into_owned();
        // To glob(3) two stars are one; the crate would walk the whole tree.
        while text.contains("**") {
            text = text.replace("**", "*");
        }
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let paths = match glob::glob_with(&text, options) {
            Ok(paths) => paths,
            Err(error) => {
                self.error(
                    from.clone(),
                    format!("not a file name pattern: {}", error.msg),
                );
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for path in paths.take(MAX_FILES + 1) {
            match path {
                Ok(path) => found.push(path),
                Err(error) => {
                    let path = error.path().to_owned();
                    self.unreadable(
                        &path,
                        &FileError::from(std::io::Error::from(error)),
                        Some(from),
                    );
                }
            }
        }
        found
    }

    /// Has `path` watched, whether it exists or not, and what it is a link to.
    pub(super) fn watch(&mut self, path: &Path) {
        let real = path.canonicalize().ok();
        for path in [Some(path), real.as_deref()].into_iter().flatten() {
            if !self.reading.watched.iter().any(|watched| watched == path) {
                self.reading.watched.push(path.to_owned());
            }
        }
    }

    /// Asks for the host that `text` names, or tells why it can be no time source.
    pub(super) fn source(&mut self, text: &str, family: Family, roles: &[Role], place: Place) {
        self.source_at(text, ntp::PORT, family, roles, place);
    }

    /// The same of a host that is asked at another port.
    pub(super) fn source_at(
        &mut self,
        text: &str,
        port: u16,
        family: Family,
        roles: &[Role],
        place: Place,
    ) {
        let host = match host::source(text, family) {
            Ok(host) => host,
            Err(error) if error.is_note() => return self.note(place, error.to_string()),
            Err(error) => return self.error(place, error.to_string()),
        };
        self.reading.wants.push(Want::Source {
            host,
            family,
            port,
            roles: roles.to_vec(),
            place,
        });
    }

    /// Asks for hosts that may use this one; no role denies them what a wider prefix grants.
    pub(super) fn prefix(&mut self, prefix: IpNet, roles: &[Role], place: Place) {
        self.reading.wants.push(Want::Prefix {
            prefix,
            roles: roles.to_vec(),
            place,
        });
    }

    /// Takes back the sources that `unwanted` picks.
    pub(super) fn remove_sources(&mut self, unwanted: impl Fn(&Host) -> bool) {
        self.reading
            .wants
            .retain(|want| !matches!(want, Want::Source { host, .. } if unwanted(host)));
    }

    /// Tells of something understood and left out.
    pub(super) fn note(&mut self, place: Place, message: impl Into<String>) {
        self.problem(place, message.into(), Severity::Note);
    }

    /// Tells of a line that could not be read.
    pub(super) fn error(&mut self, place: Place, message: impl Into<String>) {
        self.problem(place, message.into(), Severity::Error);
    }

    /// Tells of a fault for which the daemon takes nothing of the file: what it asked for stays.
    pub(super) fn broken(&mut self, place: Place, message: impl Into<String>) {
        self.problem(place, message.into(), Severity::Unreadable);
    }

    /// Notes a way to ask the daemon.
    pub(super) fn channel(&mut self, channel: Channel) {
        if !self.reading.channels.contains(&channel) {
            self.reading.channels.push(channel);
        }
    }

    /// Tells of a file that could not be read.
    pub(super) fn unreadable(&mut self, path: &Path, error: &FileError, from: Option<&Place>) {
        let message = match from {
            Some(from) => format!("{error} (included at {from})"),
            None => error.to_string(),
        };
        // Never too many to keep: each is one file.
        let problem = Problem {
            place: whole(path),
            message,
            severity: Severity::Unreadable,
        };
        if !self.reading.problems.contains(&problem) {
            self.reading.problems.push(problem);
        }
    }

    fn problem(&mut self, place: Place, message: String, severity: Severity) {
        if self.reading.problems.len() < MAX_PROBLEMS {
            self.reading.problems.push(Problem {
                place,
                message,
                severity,
            });
        } else {
            self.more += 1;
        }
    }

    /// The whole configuration, as a place.
    pub(super) fn whole(&self) -> Place {
        Place {
            file: Arc::clone(&self.main),
            line: 0,
            column: 0,
        }
    }

    pub(super) fn finish(mut self) -> Reading {
        if self.more > 0 {
            let message = format!("{} more problems are not shown", self.more);
            let problem = Problem {
                place: self.whole(),
                message,
                severity: Severity::Error,
            };
            self.reading.problems.push(problem);
        }
        self.reading
    }
}

/// A file as a whole.
fn whole(path: &Path) -> Place {
    Place {
        file: path.into(),
        line: 0,
        column: 0,
    }
}

/// A line of a file.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) file: Arc<Path>,
    /// Counted from 1.
    pub(super) number: u32,
}

impl Line {
    /// The place of the word at `column`, counted from 1 in characters.
    pub(super) fn at(&self, column: u32) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line: self.number,
            column,
        }
    }
}

/// The lines of a file's text, without the newlines, and whether each had one.
pub(super) fn lines<'a>(
    file: &Arc<Path>,
    text: &'a str,
) -> impl Iterator<Item = (Line, &'a str, bool)> + use<'a> {
    let file = Arc::clone(file);
    text.split_inclusive('\n')
        .zip(1..)
        .map(move |(line, number)| {
            let line_of = Line {
                file: Arc::clone(&file),
                number,
            };
            match line.strip_suffix('\n') {
                Some(line) => (line_of, line, true),
                None => (line_of, line, false),
            }
        })
}
