//! A reading in the making.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipnet::IpNet;
use ntpguard_common::{maps::tables::Role, wire::ntp};

use super::{
    Channel, Family, Host, Library, Place, Problem, Reading, Severity, Speaker, Want,
    budget::Budget,
    files::{FileError, Identity, Opened, directory_of_pattern},
    host::{self, Spelling},
};

/// Most files of one configuration.
pub(super) const MAX_FILES: usize = Budget::of(Speaker::Root).files;
/// Most bytes of one configuration, all files together.
pub(super) const MAX_TOTAL: u64 = Budget::of(Speaker::Root).bytes;
/// Most notes and errors that are kept: nobody reads more, and rubbish has one a line.
const MAX_PROBLEMS: usize = 200;

/// A reading in the making, and the files it is made of.
pub(super) struct ReadingBuilder<'a> {
    files: &'a dyn Library,
    spelling: Spelling,
    reading: Reading,
    main: Arc<Path>,
    /// The file being read, after those that include it.
    open: Vec<(Identity, Arc<Path>)>,
    /// How many files and bytes were read so far.
    opened: usize,
    bytes: u64,
    /// Notes and errors beyond those that are kept.
    more: usize,
}

impl<'a> ReadingBuilder<'a> {
    /// A reading of `main`, for a daemon that spells addresses like this.
    pub(super) fn new(files: &'a dyn Library, main: &Path, spelling: Spelling) -> Self {
        let main: Arc<Path> = main.into();
        let mut reading = Reading::default();
        reading.speakers.insert(Arc::clone(&main), files.speaker());
        Self {
            files,
            spelling,
            reading,
            main,
            open: Vec::new(),
            opened: 0,
            bytes: 0,
            more: 0,
        }
    }

    /// Where it finds its files.
    pub(super) const fn files(&self) -> &'a dyn Library {
        self.files
    }

    /// Gives the text of `path`, or tells why not. `from` is the place that includes it.
    ///
    /// Each text must be given back with [`close`](Self::close) when its lines are done.
    pub(super) fn open(&mut self, path: &Path, from: Option<&Place>) -> Option<String> {
        self.watch(path);
        if self.opened >= MAX_FILES || self.bytes >= MAX_TOTAL {
            self.error(
                from.cloned().unwrap_or_else(|| whole(path)),
                format!(
                    "{} is ignored: this configuration exceeds {MAX_FILES} files or 16 MiB",
                    path.display()
                ),
            );
            return None;
        }
        self.opened += 1;
        match self.files.read(path) {
            Ok(file) if self.is_open(file.identity) => {
                let place = from.cloned().unwrap_or_else(|| whole(path));
                self.error(
                    place,
                    format!("{} is ignored: it includes itself", path.display()),
                );
                None
            }
            Ok(file) => {
                self.attribute(path, &file, from);
                self.bytes += file.text.len() as u64;
                self.open.push((file.identity, path.into()));
                Some(file.text)
            }
            // It is read by another, with all that stands around it.
            Err(FileError::Withheld) => None,
            Err(error) => {
                self.unreadable(path, &error, from);
                None
            }
        }
    }

    fn is_open(&self, identity: Identity) -> bool {
        self.open.iter().any(|(open, _)| *open == identity)
    }

    /// Notes whose word a file is, and tells who can write it besides root.
    fn attribute(&mut self, path: &Path, file: &Opened, from: Option<&Place>) {
        let own = match from {
            Some(from) => self.reading.speaker(&from.file).including(file.speaker),
            None => file.speaker,
        };
        let speakers = &mut self.reading.speakers;
        // A file may be read twice, by others' word and by root's. The main one is known as root's.
        let known = speakers.entry(path.into()).or_insert(own);
        *known = own.max(*known);
        if let Some(writer) = &file.writer {
            let found = writable(path, writer);
            self.push(found.place, found.message, found.severity);
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
        match self.files.entries(directory, suffix, MAX_FILES + 1) {
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
        self.watch(&directory_of_pattern(pattern));
        match self.files.glob(pattern, MAX_FILES + 1) {
            Ok(matches) => {
                for (path, error) in matches.unreadable {
                    self.unreadable(&path, &error, Some(from));
                }
                matches.found
            }
            Err(error) => {
                let message = format!("invalid file name pattern: {error}");
                self.error(from.clone(), message);
                Vec::new()
            }
        }
    }

    /// Has `path` watched, whether it exists or not, and what it is a link to. Below another root
    /// nothing is: a link there could have any directory of this host watched. What is there is read
    /// again each time that daemons are looked for.
    pub(super) fn watch(&mut self, path: &Path) {
        if !self.files.are_ours() {
            return;
        }
        let real = self.files.real(path);
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
        let host = match host::source(text, family, self.spelling) {
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
    pub(super) fn note(&mut self, place: Place, message: impl Into<Cow<'static, str>>) {
        self.problem(place, message.into(), Severity::Note);
    }

    /// Tells of a line that could not be read.
    pub(super) fn error(&mut self, place: Place, message: impl Into<Cow<'static, str>>) {
        self.problem(place, message.into(), Severity::Error);
    }

    /// Tells of a fault for which the daemon takes nothing of the file: what it asked for stays.
    pub(super) fn broken(&mut self, place: Place, message: impl Into<Cow<'static, str>>) {
        self.problem(place, message.into(), Severity::Unreadable);
    }

    /// Notes a way to ask the daemon, where it is root who says it.
    pub(super) fn channel(&mut self, channel: Channel) {
        let is_ours = matches!(self.speaker_now(), Speaker::Root | Speaker::CommandLine);
        if is_ours && !self.reading.channels.contains(&channel) {
            self.reading.channels.push(channel);
        }
    }

    /// Tells of a file that could not be read: what it asked for stays.
    pub(super) fn unreadable(&mut self, path: &Path, error: &FileError, from: Option<&Place>) {
        let (place, message, severity) = match from {
            // The path is a text of the file that names it.
            Some(from) if !self.may_quote(&from.file) => {
                self.reading.unreadable.push(path.into());
                let message = unreadable_include(error);
                (from.clone(), message, Severity::Error)
            }
            Some(from) => {
                let message = format!("{error} (included at {from})");
                (whole(path), message, Severity::Unreadable)
            }
            None => (whole(path), error.to_string(), Severity::Unreadable),
        };
        let problem = Problem {
            place,
            message,
            severity,
        };
        // Never too many to keep: each is one file.
        if !self.reading.problems.contains(&problem) {
            self.reading.problems.push(problem);
        }
    }

    /// Keeps a problem, without its words where these may be those of a file that is not to be
    /// quoted. A message that is made as it is needed may quote; one that stands in the program
    /// does not.
    fn problem(&mut self, place: Place, message: Cow<'static, str>, severity: Severity) {
        let message = match message {
            Cow::Owned(_) if !self.may_quote(&place.file) => without_words(severity).to_owned(),
            message => message.into_owned(),
        };
        self.push(place, message, severity);
    }

    fn push(&mut self, place: Place, message: String, severity: Severity) {
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

    /// Whether a file is root's word.
    pub(super) fn is_of_root(&self, file: &Path) -> bool {
        self.reading.speaker(file) == Speaker::Root
    }

    /// Whether the text of a file may be shown: that of others could be a link to a file that only
    /// root can read.
    fn may_quote(&self, file: &Path) -> bool {
        let speaker = self.reading.speaker(file);
        // Anybody can read a command line.
        let is_known = matches!(speaker, Speaker::Root | Speaker::CommandLine);
        self.files.are_ours() && is_known
    }

    /// Whose word it is that is being read.
    fn speaker_now(&self) -> Speaker {
        let file = self.open.last().map_or(&self.main, |(_, file)| file);
        self.reading.speaker(file)
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

/// What is said of a problem without the words of the file.
pub(super) const fn without_words(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "understood, and ignored",
        Severity::Error => "not understood, or not possible: ignored",
        Severity::Unreadable => "an error: earlier grants of the file are kept",
    }
}

/// What is said of a file that cannot be read where its name may not be.
pub(super) fn unreadable_include(error: &FileError) -> String {
    format!("cannot read a file included here: {error}")
}

/// The finding that `writer` can write a file, too.
pub(super) fn writable(path: &Path, writer: &str) -> Problem {
    let message = format!(
        "users other than root can write this file ({writer}): only the servers it names are \
         granted; make it and its parent directories owned and writable by root only"
    );
    Problem {
        place: whole(path),
        message,
        severity: Severity::Note,
    }
}

/// A file as a whole.
pub(super) fn whole(path: &Path) -> Place {
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

#[cfg(test)]
mod tests;
