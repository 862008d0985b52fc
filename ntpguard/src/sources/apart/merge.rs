//! Two readings of one configuration as one: of root's files alone, and of the rest.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use super::{
    super::{Place, Problem, Reading, Severity, Speaker, reading_builder::whole},
    unread,
};
use crate::{readers::ReaderError, sources::budget::Budget};

/// What root's files say, and the `withheld` ones as others' word; what those asked for before stays
/// where their reader failed.
pub(super) fn merge(
    mut of_root: Reading,
    withheld: &BTreeSet<PathBuf>,
    of_all: Result<Reading, ReaderError>,
) -> Reading {
    let of_all = match of_all {
        Ok(of_all) => of_all,
        Err(error) => {
            of_root
                .problems
                .retain(|problem| !withheld.contains(&*problem.place.file));
            let is_unfinished = of_root.is_unfinished;
            for file in withheld {
                extend(&mut of_root, unread(file, &error));
            }
            // To ask again at once for what no reader asks for would be their way to keep the guard busy.
            if matches!(error, ReaderError::Wrong(_)) {
                of_root.is_unfinished = is_unfinished;
            }
            return of_root;
        }
    };
    of_root
        .speakers
        .retain(|file, _| !withheld.contains(&**file));
    // What is wrong with root's files is said in the words of the reader that saw no others, and
    // only as far as it is still so with these, if they were read so far.
    let still: BTreeSet<&Place> = of_all
        .problems
        .iter()
        .map(|problem| &problem.place)
        .collect();
    of_root.problems.retain(|of_root| {
        still.contains(&of_root.place) || !of_all.speakers.contains_key(&of_root.place.file)
    });
    let said: BTreeSet<&Place> = of_root
        .problems
        .iter()
        .map(|problem| &problem.place)
        .collect();
    let mut problems = of_all.problems;
    problems.retain(|problem| {
        !of_root.speakers.contains_key(&problem.place.file) && !said.contains(&problem.place)
    });
    let (watched, over) = watched(&of_root, of_all.watched, withheld);
    problems.extend(over);
    let mut speakers = of_all.speakers;
    for problem in &problems {
        let file = Arc::clone(&problem.place.file);
        speakers.entry(file).or_insert(Speaker::Others);
    }
    let of_others = Reading {
        problems,
        speakers,
        watched,
        ..of_all
    };
    extend(&mut of_root, of_others);
    of_root
}

/// The paths that others have watched besides root's, as far as their budget goes.
fn watched(
    of_root: &Reading,
    watched: Vec<PathBuf>,
    withheld: &BTreeSet<PathBuf>,
) -> (Vec<PathBuf>, Option<Problem>) {
    let known: BTreeSet<&PathBuf> = of_root.watched.iter().collect();
    let mut theirs = watched;
    theirs.retain(|path| !known.contains(path));
    let most = Budget::of(Speaker::Others).watched;
    if theirs.len() <= most {
        return (theirs, None);
    }
    theirs.truncate(most);
    let problem = withheld.first().map(|file| Problem {
        place: whole(file),
        message: format!(
            "a file that users other than root can write has used up its budget of {most} watched paths: changes \
             of the rest are seen only when something else changes"
        ),
        severity: Severity::Error,
    });
    (theirs, problem)
}

/// Adds a reading to another. Whose word a file is stays as it was said first, unless it was not handed
/// over.
pub(super) fn extend(reading: &mut Reading, other: Reading) {
    reading.wants.extend(other.wants);
    reading.problems.extend(other.problems);
    reading.unreadable.extend(other.unreadable);
    for (file, speaker) in other.speakers {
        reading.speakers.entry(file).or_insert(speaker);
    }
    for channel in other.channels {
        if !reading.channels.contains(&channel) {
            reading.channels.push(channel);
        }
    }
    for path in other.watched {
        if !reading.watched.contains(&path) {
            reading.watched.push(path);
        }
    }
    reading.is_unfinished |= other.is_unfinished;
}
