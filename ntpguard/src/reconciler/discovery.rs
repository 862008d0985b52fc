//! Finding the sources and reading them: all that the reconciler does with files of others, as one piece of
//! work that can be done on a thread of its own.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::Origins;
use crate::{
    clock::BootSeconds,
    readers::Readers,
    sources::{self, Discovered, Place, Problem, Reading, Severity, Sightings, Source},
};

/// Where the distributions' files are looked for.
pub(crate) const ROOT: &str = "/";

/// The work of one reading.
#[derive(Debug)]
pub struct Reader {
    readers: Readers,
    origins: Origins,
    sightings: Sightings,
    /// Whether files are read although the sources are the same as before.
    all: bool,
    progress: Progress,
}

/// What came of a reading.
#[derive(Debug)]
pub struct Read {
    /// The sources that count from now on.
    pub(crate) sources: Vec<Source>,
    /// What keeps daemons from being believed.
    pub(crate) findings: Vec<Problem>,
    pub(crate) sightings: Sightings,
    /// What each of them asks for; absent where none was read.
    pub(crate) readings: Option<Vec<(Source, Reading)>>,
    /// Whether something was not read that may be in a moment.
    pub(crate) is_unfinished: bool,
}

/// Which source is being read.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Option<Source>>>);

impl Reader {
    /// Reads the sources of `origins`, of which those seen in `sightings` may have gone.
    pub(crate) fn new(readers: Readers, origins: Origins, sightings: Sightings, all: bool) -> Self {
        Self {
            readers,
            origins,
            sightings,
            all,
            progress: Progress::default(),
        }
    }

    /// Where the reading will be at.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Looks for the sources, if that is wanted, and reads them, if there are others than before, some
    /// whose changes are not reported, or all are to be read. It may take as long as file systems please.
    pub fn read(mut self, now: BootSeconds) -> Read {
        let before = std::mem::take(&mut self.origins.sources);
        let found = self.find(&before, now);
        let sources = found.sources;
        let must_be_polled = sources.iter().any(Source::must_be_polled);
        let readings = (self.all || must_be_polled || sources != before).then(|| {
            let read = sources.iter().filter_map(|source| self.read_one(source));
            read.collect()
        });
        let has_gaps = |readings: &Vec<(Source, Reading)>| {
            let mut readings = readings.iter();
            readings.any(|(_, reading)| reading.is_unfinished)
        };
        let is_unfinished = found.is_unfinished || readings.as_ref().is_some_and(has_gaps);
        Read {
            sources,
            findings: found.problems,
            sightings: self.sightings,
            readings,
            is_unfinished,
        }
    }

    /// The sources that count now.
    fn find(&mut self, before: &[Source], now: BootSeconds) -> Discovered {
        if !self.origins.discover {
            return Discovered {
                sources: before.to_vec(),
                ..Discovered::default()
            };
        }
        let mut found = sources::discover(&self.readers, Path::new(ROOT), &self.origins.trust);
        let known = found.sources.clone();
        found.sources = self.sightings.update(before, found.sources, now);
        if found.is_unfinished {
            // What a command line named before that could not be read now.
            let missing = before.iter().filter(|source| {
                let id = source.to_string();
                known.iter().all(|known| known.to_string() != id)
            });
            let missing: Vec<Source> = missing.cloned().collect();
            for source in missing {
                found
                    .sources
                    .retain(|found| found.to_string() != source.to_string());
                found.sources.push(source);
            }
        }
        found
    }

    /// Reads a source; what a daemon that has gone meanwhile was started with counts as it was.
    fn read_one(&self, source: &Source) -> Option<(Source, Reading)> {
        self.progress.is_at(source);
        (!source.has_gone()).then(|| {
            (
                source.clone(),
                source.read(&self.readers, self.origins.serve),
            )
        })
    }
}

impl Progress {
    fn is_at(&self, source: &Source) {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *at = Some(source.clone());
    }

    /// The finding that the reading takes too long, with where it is at.
    pub fn hangs(&self) -> Problem {
        let at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match at.as_ref() {
            Some(source) => hanging(&source.path, "reading"),
            None => hanging(Path::new(ROOT), "searching for configurations"),
        }
    }
}

/// The finding that something done with `path` takes too long.
pub fn hanging(path: &Path, what: &str) -> Problem {
    Problem {
        place: Place {
            file: path.into(),
            line: 0,
            column: 0,
        },
        message: format!(
            "{what} takes too long: is a file system hanging? Known grants stay in force until it \
             finishes"
        ),
        severity: Severity::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn sources_are_read_when_all_are_to_be_and_where_there_are_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ntp.conf");
        fs::write(&path, "server 192.0.2.1\n").unwrap();
        let source: Source = format!("ntp.conf:{}", path.display()).parse().unwrap();
        let origins = Origins {
            sources: vec![source.clone()],
            ..Origins::default()
        };
        let read = |all| {
            let reader = Reader::new(
                crate::work::readers_on_threads(),
                origins.clone(),
                Sightings::default(),
                all,
            );
            reader.read(BootSeconds(1)).readings
        };
        assert!(read(false).is_none());
        let readings = read(true).unwrap();
        assert_eq!(readings.len(), 1);
        assert_eq!(readings[0].0, source);
        assert_eq!(readings[0].1.wants.len(), 1);
    }

    #[test]
    fn a_reading_that_hangs_names_the_file_it_is_at() {
        let progress = Progress::default();
        assert!(progress.hangs().to_string().starts_with("/: searching"));
        progress.is_at(&"ntp.conf:/mnt/ntp.conf".parse().unwrap());
        let hangs = progress.hangs().to_string();
        assert!(hangs.starts_with("/mnt/ntp.conf: reading takes"), "{hangs}");
    }
}
