//! The reader's side: files that the guard opens.

use std::{
    cell::RefCell,
    io,
    path::{Path, PathBuf},
};

use super::{
    super::{
        Library, Reading, Speaker,
        arguments::said,
        command_line::read_arguments,
        files::{FileError, Matches, Opened},
    },
    answer,
    message::{Given, Name, Task, Texts, Wish},
};
use crate::readers::{Desk, FrameError};

/// Does the one task of a reader of texts.
pub(crate) fn work(mut desk: Desk) -> Result<(), FrameError> {
    match desk.hear()? {
        Task::Configuration {
            kind,
            serve,
            texts,
            main,
        } => {
            let remote = Remote::new(texts, desk);
            let dialect = kind.dialect(serve);
            let reading = dialect.read_from(&remote, &main.path());
            remote.done(&reading)
        }
        Task::Arguments {
            texts,
            main,
            program,
            arguments,
            sees_same_files,
        } => {
            let remote = Remote::new(texts, desk);
            let main = main.path();
            let reading = read_arguments(&remote, &main, program, &arguments, sees_same_files);
            remote.done(&reading)
        }
        Task::Said { program, arguments } => desk.say(&said(program, &arguments)),
    }
}

/// Files that the guard opens.
struct Remote {
    speaker: Speaker,
    root: Option<PathBuf>,
    desk: RefCell<Desk>,
}

impl Remote {
    fn new(texts: Texts, desk: Desk) -> Self {
        Self {
            speaker: texts.speaker,
            root: texts.root.map(|root| root.path()),
            desk: RefCell::new(desk),
        }
    }

    fn done(self, reading: &Reading) -> Result<(), FrameError> {
        let mut desk = self.desk.into_inner();
        desk.say(&Wish::Done(Box::new(answer::of(reading))))
    }

    fn ask(&self, wish: &Wish) -> Result<Given, FileError> {
        let mut desk = self.desk.borrow_mut();
        let given = desk.say(wish).and_then(|()| desk.hear());
        given.map_err(|error| FileError::Io(io::Error::other(error)))
    }

    fn is(&self, wish: &Wish) -> bool {
        matches!(self.ask(wish), Ok(Given::Is(true)))
    }
}

/// That the guard answers something else than was asked, which it never does.
fn nonsense() -> FileError {
    FileError::Io(io::Error::other("unexpected reply from the guard"))
}

fn paths(names: &[Name]) -> Vec<PathBuf> {
    names.iter().map(Name::path).collect()
}

impl Library for Remote {
    fn speaker(&self) -> Speaker {
        self.speaker
    }

    fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    fn read(&self, path: &Path) -> Result<Opened, FileError> {
        match self.ask(&Wish::Text(path.into()))? {
            Given::Text(text) => Ok(text?.into()),
            _ => Err(nonsense()),
        }
    }

    fn entries(
        &self,
        directory: &Path,
        suffix: &str,
        most: usize,
    ) -> Result<Vec<PathBuf>, FileError> {
        let wish = Wish::Entries(directory.into(), suffix.to_owned(), most as u32);
        match self.ask(&wish)? {
            Given::Names(names) => Ok(paths(&names?)),
            _ => Err(nonsense()),
        }
    }

    fn glob(&self, pattern: &Path, most: usize) -> Result<Matches, String> {
        let given = self.ask(&Wish::Glob(pattern.into(), most as u32));
        let Ok(Given::Found(found)) = given else {
            return Err(nonsense().to_string());
        };
        let (found, unreadable) = found?;
        let unreadable = unreadable.into_iter();
        Ok(Matches {
            found: paths(&found),
            unreadable: unreadable
                .map(|(name, fault)| (name.path(), fault.into()))
                .collect(),
        })
    }

    fn exists(&self, path: &Path) -> bool {
        self.is(&Wish::Exists(path.into()))
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.is(&Wish::IsDirectory(path.into()))
    }

    fn is_null(&self, path: &Path) -> bool {
        self.is(&Wish::IsNull(path.into()))
    }

    fn real(&self, path: &Path) -> Option<PathBuf> {
        match self.ask(&Wish::Real(path.into())) {
            Ok(Given::Real(real)) => real.map(|name| name.path()),
            _ => None,
        }
    }
}
