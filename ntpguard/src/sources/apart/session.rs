//! The guard's side: it opens what a reader asks for, within bounds, and decides whose word each file is.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::{
        Files, Library as _, Problem, Reading, Speaker,
        draft::{MAX_FILES, MAX_TOTAL, unreadable_include, without_words, writable},
        files::{FileError, Opened},
    },
    answer,
    message::{Answer, Fault, Found, Given, Name, Task, Wish},
};
use crate::readers::{Line, ReaderError};

/// Most wishes of one reader: those of a configuration of as many files as may be, many times.
const MAX_WISHES: usize = 32_768;

/// Most looks into directories.
const MAX_LISTINGS: usize = 2_048;

/// Which texts a reader is given.
#[derive(Debug)]
pub(super) enum Hands {
    /// None: it has its text already, and says which files that names.
    Nothing,
    /// Those that are root's alone.
    OfRoot,
    /// All.
    All,
    /// All, of which these are known to be root's, and were read as such by another.
    Rest(BTreeMap<PathBuf, Speaker>),
}

/// A conversation with one reader, and what it was given.
#[derive(Debug)]
pub(super) struct Session<'a> {
    files: &'a Files,
    main: PathBuf,
    hands: Hands,
    /// The texts that were given, and whose word each is by itself.
    handed: BTreeMap<PathBuf, Speaker>,
    /// The texts that were not.
    withheld: BTreeSet<PathBuf>,
    /// The paths that the reader asked for or was given.
    known: BTreeSet<PathBuf>,
    /// What the reader may say of files that cannot be read.
    faults: BTreeSet<String>,
    /// Who can write what was given.
    findings: Vec<Problem>,
    wishes: usize,
    listings: usize,
    bytes: u64,
}

impl<'a> Session<'a> {
    pub(super) fn new(files: &'a Files, main: &Path, hands: Hands) -> Self {
        Self {
            files,
            main: main.to_owned(),
            hands,
            handed: BTreeMap::new(),
            withheld: BTreeSet::new(),
            known: BTreeSet::from([main.to_owned()]),
            faults: BTreeSet::new(),
            findings: Vec::new(),
            wishes: 0,
            listings: 0,
            bytes: 0,
        }
    }

    /// The texts that were given, and whose word each is.
    pub(super) const fn handed(&self) -> &BTreeMap<PathBuf, Speaker> {
        &self.handed
    }

    /// The texts that were asked for and not given.
    pub(super) const fn withheld(&self) -> &BTreeSet<PathBuf> {
        &self.withheld
    }

    /// Gives the reader its task and all it asks for, until it has a reading.
    pub(super) fn converse(
        &mut self,
        line: &mut Line,
        task: &Task,
    ) -> Result<Reading, ReaderError> {
        line.say(task)?;
        loop {
            let given = match line.hear()? {
                Wish::Done(answer) => {
                    let reading = self.take(*answer);
                    return reading.map_err(|what| line.wrong(what));
                }
                wish => self.give(wish).map_err(|what| line.wrong(what))?,
            };
            line.say(&given)?;
        }
    }

    /// What the reader is given, unless it asks for more than any does.
    pub(super) fn give(&mut self, wish: Wish) -> Result<Given, String> {
        self.wishes += 1;
        if self.wishes > MAX_WISHES {
            return Err(format!("over {MAX_WISHES} wishes"));
        }
        Ok(match wish {
            Wish::Text(name) => {
                let path = self.asked(&name);
                Given::Text(self.text(&path)?.map(Into::into))
            }
            Wish::Entries(name, suffix, most) => {
                self.list()?;
                let path = self.asked(&name);
                let found = self.files.entries(&path, &suffix, bounded(most));
                Given::Names(self.names(found))
            }
            Wish::Glob(name, most) => {
                self.list()?;
                let pattern = self.asked(&name);
                Given::Found(self.glob(&pattern, bounded(most)))
            }
            Wish::Exists(name) => Given::Is(self.files.exists(&self.asked(&name))),
            Wish::IsDirectory(name) => Given::Is(self.files.is_dir(&self.asked(&name))),
            Wish::IsNull(name) => Given::Is(self.files.is_null(&self.asked(&name))),
            Wish::Real(name) => {
                let path = self.asked(&name);
                let real = self.files.real(&path).filter(|_| self.files.are_ours());
                self.known.extend(real.clone());
                Given::Real(real.map(|real| Name::from(&real)))
            }
            Wish::Done(_) => return Err("two readings".to_owned()),
        })
    }

    fn asked(&mut self, name: &Name) -> PathBuf {
        let path = name.path();
        self.known.insert(path.clone());
        path
    }

    fn list(&mut self) -> Result<(), String> {
        self.listings += 1;
        if self.listings > MAX_LISTINGS {
            return Err(format!("over {MAX_LISTINGS} directory listings"));
        }
        Ok(())
    }

    fn names(&mut self, found: Result<Vec<PathBuf>, FileError>) -> Result<Vec<Name>, Fault> {
        match found {
            Ok(found) => {
                let names = found.iter().map(Name::from).collect();
                self.known.extend(found);
                Ok(names)
            }
            Err(error) => Err(self.fault(&error)),
        }
    }

    fn glob(&mut self, pattern: &Path, most: usize) -> Result<Found, String> {
        let matches = self.files.glob(pattern, most)?;
        let mut unreadable = Vec::new();
        for (path, error) in matches.unreadable.into_iter().take(most) {
            unreadable.push((Name::from(&path), self.fault(&error)));
            self.known.insert(path);
        }
        let found = matches.found.iter().map(Name::from).collect();
        self.known.extend(matches.found);
        Ok((found, unreadable))
    }

    fn text(&mut self, path: &Path) -> Result<Result<Opened, Fault>, String> {
        if self.handed.len() > MAX_FILES || self.bytes > MAX_TOTAL {
            return Err("too many texts".to_owned());
        }
        if matches!(self.hands, Hands::Nothing) {
            return Ok(Err(self.withhold(path)));
        }
        let opened = match self.files.read(path) {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(self.fault(&error))),
        };
        match &self.hands {
            Hands::OfRoot if opened.speaker != Speaker::Root => {
                return Ok(Err(self.withhold(path)));
            }
            // What others name and may not read is not for their reader.
            Hands::Rest(known) if is_secret(&opened) && !known.contains_key(path) => {
                return Ok(Err(self.fault(&FileError::Denied)));
            }
            _ => {}
        }
        self.bytes += opened.text.len() as u64;
        let is_new = self
            .handed
            .insert(path.to_owned(), opened.speaker)
            .is_none();
        if let Some(writer) = opened.writer.as_ref().filter(|_| is_new) {
            self.findings.push(writable(path, writer));
        }
        Ok(Ok(opened))
    }

    fn withhold(&mut self, path: &Path) -> Fault {
        self.withheld.insert(path.to_owned());
        Fault::Withheld
    }

    /// Why a file is not given, in words that the reader may repeat.
    fn fault(&mut self, error: &FileError) -> Fault {
        self.faults.insert(error.to_string());
        self.faults.insert(unreadable_include(error));
        error.into()
    }

    /// The reading that an answer is, with whose word it is.
    pub(super) fn take(&mut self, answer: Answer) -> Result<Reading, String> {
        let mut reading = answer::reading(answer, &self.known)?;
        reading.speakers = self.speakers();
        if let Hands::Rest(known) = &self.hands {
            let is_known = |file: &Path| known.contains_key(file);
            reading.wants.retain(|want| !is_known(&want.place().file));
            // Whether root's words are at fault is for the other reader to say, in its own.
            for problem in &mut reading.problems {
                self.censor(problem);
            }
            reading.unreadable.retain(|file| !is_known(file));
            reading.channels.clear();
        } else if self.files.speaker() == Speaker::Container {
            for problem in &mut reading.problems {
                self.censor(problem);
            }
            reading.channels.clear();
        }
        reading.problems.append(&mut self.findings);
        Ok(reading)
    }

    /// Takes from a problem the words that may be those of a file that is not to be quoted.
    fn censor(&self, problem: &mut Problem) {
        if !self.faults.contains(&problem.message) {
            without_words(problem.severity).clone_into(&mut problem.message);
        }
    }

    /// Whose word each file is. What a reader was given that has seen the words of others is theirs.
    fn speakers(&self) -> BTreeMap<Arc<Path>, Speaker> {
        let least = match &self.hands {
            Hands::Rest(_) => Speaker::Others,
            Hands::Nothing | Hands::OfRoot | Hands::All => self.files.speaker(),
        };
        let handed = self.handed.iter();
        let handed = handed.map(|(path, own)| (path.as_path().into(), least.max(*own)));
        let main = (self.main.as_path().into(), least);
        std::iter::once(main).chain(handed).collect()
    }
}

/// Whether only root and its group may read a text.
fn is_secret(opened: &Opened) -> bool {
    opened.speaker == Speaker::Root && !opened.is_open
}

/// How many entries a reader may ask for.
fn bounded(most: u32) -> usize {
    (most as usize).min(MAX_FILES + 1)
}
