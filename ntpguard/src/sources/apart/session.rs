//! The guard's side: it opens what a reader asks for, within bounds, and decides whose word each file is.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    super::{
        Files, Library as _, Problem, Reading, Severity, Speaker,
        files::{FileError, Looks, Opened},
        reading_builder::{MAX_FILES, unreadable_include, whole, without_words, writable},
    },
    answer,
    message::{Answer, Fault, Found, Given, Name, Task, Wish},
};
use crate::{
    readers::{Line, ReaderError},
    sources::{
        budget::Budget,
        speaker::{cure, who},
    },
};

/// Most wishes of one reader: those of a configuration of as many files as may be, many times.
const MAX_WISHES: usize = 32_768;

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
    /// Whose budget it is, and what was spent of it.
    budget: &'static Budget,
    looks: Looks,
    files_given: usize,
    bytes: u64,
    /// The text that was given last and is not known to be root's.
    last: PathBuf,
    /// That a budget is used up which is not root's: nothing more is given.
    spent: Option<Problem>,
}

impl<'a> Session<'a> {
    pub(super) fn new(files: &'a Files, main: &Path, hands: Hands) -> Self {
        let budget = Budget::of(least(files, &hands));
        Self {
            files,
            budget,
            looks: Looks::of(budget),
            files_given: 0,
            last: main.to_owned(),
            spent: None,
            main: main.to_owned(),
            hands,
            handed: BTreeMap::new(),
            withheld: BTreeSet::new(),
            known: BTreeSet::from([main.to_owned()]),
            faults: BTreeSet::new(),
            findings: Vec::new(),
            wishes: 0,
            bytes: 0,
        }
    }

    /// How long its reader may let the guard wait.
    pub(super) const fn patience(&self) -> Duration {
        self.budget.patience
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
        if self.spent.is_some() {
            return self.refuse(&wish);
        }
        let given = self.look(wish)?;
        if let Some(what) = self.looks.spent() {
            self.spend(what)?;
        }
        Ok(given)
    }

    fn look(&mut self, wish: Wish) -> Result<Given, String> {
        Ok(match wish {
            Wish::Text(name) => {
                let path = self.asked(&name);
                Given::Text(self.text(&path)?.map(Into::into))
            }
            Wish::Entries(name, suffix, most) => {
                let path = self.asked(&name);
                let (files, looks) = (self.files, &self.looks);
                let found =
                    looks.during(|| files.entries_within(&path, &suffix, bounded(most), looks));
                Given::Names(self.names(found))
            }
            Wish::Glob(name, most) => {
                let pattern = self.asked(&name);
                Given::Found(self.glob(&pattern, bounded(most)))
            }
            Wish::Exists(name) => Given::Is(self.is(&name, Files::exists)),
            Wish::IsDirectory(name) => Given::Is(self.is(&name, Files::is_dir)),
            Wish::IsNull(name) => Given::Is(self.is(&name, Files::is_null)),
            Wish::Real(name) => {
                let path = self.asked(&name);
                let real = self.looks.during(|| self.files.real(&path));
                let real = real.filter(|_| self.files.are_ours());
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

    fn is(&mut self, name: &Name, so: impl Fn(&Files, &Path) -> bool) -> bool {
        let path = self.asked(name);
        self.looks.during(|| so(self.files, &path))
    }

    /// Notes what is used up. Where that is root's the reading fails as a whole, and what was known before
    /// stays; others get nothing more, and what they had so far counts.
    fn spend(&mut self, what: &str) -> Result<(), String> {
        let speaker = least(self.files, &self.hands);
        if speaker == Speaker::Root {
            return Err(format!("the budget of {what} is used up"));
        }
        self.spent = Some(Problem {
            place: whole(&self.last),
            message: format!(
                "{} has used up its budget of {what}: the rest is not read; {}",
                who(speaker),
                cure(speaker)
            ),
            severity: Severity::Error,
        });
        Ok(())
    }

    /// What is given where nothing more is.
    fn refuse(&mut self, wish: &Wish) -> Result<Given, String> {
        let (Wish::Text(name)
        | Wish::Entries(name, ..)
        | Wish::Glob(name, _)
        | Wish::Exists(name)
        | Wish::IsDirectory(name)
        | Wish::IsNull(name)
        | Wish::Real(name)) = wish
        else {
            return Err("two readings".to_owned());
        };
        self.asked(name);
        Ok(match wish {
            Wish::Text(_) => Given::Text(Err(self.fault(&used_up()))),
            Wish::Entries(..) => Given::Names(Ok(Vec::new())),
            Wish::Glob(..) => Given::Found(Ok((Vec::new(), Vec::new()))),
            Wish::Real(_) => Given::Real(None),
            _ => Given::Is(false),
        })
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
        let (files, looks) = (self.files, &self.looks);
        let matches = looks.during(|| files.glob_within(pattern, most, looks))?;
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
        if matches!(self.hands, Hands::Nothing) {
            return Ok(Err(self.withhold(path)));
        }
        let opened = match self.looks.during(|| self.files.read(path)) {
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
        if !self.is_known(path) {
            path.clone_into(&mut self.last);
            self.files_given += 1;
            self.bytes += opened.text.len() as u64;
            if self.files_given > self.budget.files {
                self.spend("files")?;
            } else if self.bytes > self.budget.bytes {
                self.spend("bytes of files")?;
            }
            if self.spent.is_some() {
                return Ok(Err(self.fault(&used_up())));
            }
        }
        let is_new = self
            .handed
            .insert(path.to_owned(), opened.speaker)
            .is_none();
        if let Some(writer) = opened.writer.as_ref().filter(|_| is_new) {
            self.findings.push(writable(path, writer));
        }
        Ok(Ok(opened))
    }

    /// Whether a text is root's, and was read as such by another.
    fn is_known(&self, path: &Path) -> bool {
        matches!(&self.hands, Hands::Rest(known) if known.contains_key(path))
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
        reading.problems.extend(self.spent.take());
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
        let least = least(self.files, &self.hands);
        let handed = self.handed.iter();
        let handed = handed.map(|(path, own)| (path.as_path().into(), least.max(*own)));
        let main = (self.main.as_path().into(), least);
        std::iter::once(main).chain(handed).collect()
    }
}

/// Whose word all counts as that a reader says.
fn least(files: &Files, hands: &Hands) -> Speaker {
    match hands {
        Hands::Rest(_) => Speaker::Others,
        Hands::Nothing | Hands::OfRoot | Hands::All => files.speaker(),
    }
}

/// Why a file is not given where a budget is used up.
fn used_up() -> FileError {
    FileError::Io(io::Error::other("a budget is used up"))
}

/// Whether only root and its group may read a text.
fn is_secret(opened: &Opened) -> bool {
    opened.speaker == Speaker::Root && !opened.is_open
}

/// How many entries a reader may ask for.
fn bounded(most: u32) -> usize {
    (most as usize).min(MAX_FILES + 1)
}
