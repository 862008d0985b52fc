//! Configurations and command lines read by processes apart ([`crate::readers`]).
//!
//! A reader asks for each file by its path ([`message`], [`remote`]), and the guard opens it as it would
//! for itself ([`session`]). Whose word a file is the guard alone decides, and so that a reader
//! cannot pass off one file's words as another's, it never holds files of several: root's files are read
//! by one that is given no others, and what others can write is read again by another, whose
//! claims count as theirs ([`merge`]).

mod answer;
mod merge;
mod message;
mod remote;
mod session;

#[cfg(test)]
mod tests;

use std::path::Path;

pub(crate) use self::remote::work;
use self::{
    message::{Task, Texts},
    session::{Hands, Session},
};
use super::{
    Files, Kind, Library as _, Problem, Reading, Severity, Speaker,
    arguments::Said,
    files::FileError,
    host::Spelling,
    reading_builder::{ReadingBuilder, whole},
};
use crate::{
    confine::Work,
    processes::{Program, TimeDaemon},
    readers::{ReaderError, Readers},
};

/// Most files that one command line may name.
const MAX_NAMED: usize = 64;

/// Reads the configuration whose main file is `main`; where no reader does, that is the reading's problem,
/// and what it asked for before stays.
pub(super) fn read(
    readers: &Readers,
    kind: Kind,
    files: &Files,
    main: &Path,
    serve: bool,
) -> Reading {
    let reader = Reader {
        readers,
        files,
        serve,
    };
    let reading = match kind {
        Kind::CommandLine => reader.command_line(main),
        _ => reader.configuration(kind, main),
    };
    reading.unwrap_or_else(|error| unread(main, &error))
}

/// What a command line says, as far as it matters where configurations are looked for.
pub(super) fn said(
    readers: &Readers,
    program: Program,
    arguments: &[String],
) -> Result<Said, ReaderError> {
    let mut line = readers.begin(Work::Texts, &[])?;
    line.say(&Task::Said {
        program,
        arguments: arguments.to_vec(),
    })?;
    line.hear()
}

/// The reading of a file that no reader has read.
fn unread(main: &Path, error: &ReaderError) -> Reading {
    Reading {
        problems: vec![Problem {
            place: whole(main),
            message: error.to_string(),
            severity: Severity::Unreadable,
        }],
        is_unfinished: true,
        ..Reading::default()
    }
}

/// What the readings of one configuration have in common.
#[derive(Clone, Copy)]
struct Reader<'a> {
    readers: &'a Readers,
    files: &'a Files,
    serve: bool,
}

impl Reader<'_> {
    fn configuration(self, kind: Kind, main: &Path) -> Result<Reading, ReaderError> {
        let task = Task::Configuration {
            kind,
            serve: self.serve,
            texts: Texts::of(self.files),
            main: main.into(),
        };
        if self.files.speaker() != Speaker::Root {
            return Ok(self.converse(main, Hands::All, &task)?.1);
        }
        let (of_root, reading) = self.converse(main, Hands::OfRoot, &task)?;
        if of_root.withheld().is_empty() {
            return Ok(reading);
        }
        let known = of_root.handed().clone();
        let of_all = self.converse(main, Hands::Rest(known), &task);
        Ok(merge::merge(
            reading,
            of_root.withheld(),
            of_all.map(|(_, reading)| reading),
        ))
    }

    /// Reads a command line, and then the files that it names as what they are: root's, or others'.
    fn command_line(self, path: &Path) -> Result<Reading, ReaderError> {
        let Some(daemon) = path.parent().and_then(TimeDaemon::read) else {
            let mut builder = ReadingBuilder::new(self.files, path, Spelling::NTPD);
            builder.unreadable(path, &FileError::Missing, None);
            return Ok(builder.finish());
        };
        self.arguments(path, &daemon)
    }

    fn arguments(self, path: &Path, daemon: &TimeDaemon) -> Result<Reading, ReaderError> {
        let task = Task::Arguments {
            texts: Texts::of(self.files),
            main: path.into(),
            program: daemon.program,
            arguments: daemon.arguments.clone(),
            sees_same_files: self.files.are_ours() && daemon.own_root().is_none(),
        };
        let (said, mut reading) = self.converse(path, Hands::Nothing, &task)?;
        let files = self.files.clone().said_by(Speaker::Root);
        for named in said.withheld().iter().take(MAX_NAMED) {
            let reader = Reader {
                files: &files,
                ..self
            };
            let read = reader.configuration(Kind::Chrony, named);
            merge::extend(
                &mut reading,
                read.unwrap_or_else(|error| unread(named, &error)),
            );
        }
        Ok(reading)
    }

    fn converse(
        &self,
        main: &Path,
        hands: Hands,
        task: &Task,
    ) -> Result<(Session<'_>, Reading), ReaderError> {
        let line = self.readers.begin(Work::Texts, &[])?;
        let mut session = Session::new(self.files, main, hands);
        let mut line = line.with_patience(session.patience());
        let reading = session.converse(&mut line, task)?;
        Ok((session, reading))
    }
}
