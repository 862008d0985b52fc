//! Two readings of one configuration as one: of root's files alone, and of the rest.

use std::{collections::BTreeSet, path::PathBuf};

use super::{super::Reading, unread};
use crate::readers::ReaderError;

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
            for file in withheld {
                extend(&mut of_root, unread(file, &error));
            }
            return of_root;
        }
    };
    of_root
        .speakers
        .retain(|file, _| !withheld.contains(&**file));
    // What is wrong with root's files is said in the words of the reader that saw no others, and
    // only as far as it is still so with these.
    of_root.problems.retain(|of_root| {
        let mut still = of_all.problems.iter();
        still.any(|problem| problem.place == of_root.place)
    });
    let of_others = Reading {
        problems: of_all
            .problems
            .into_iter()
            .filter(|problem| !of_root.speakers.contains_key(&problem.place.file))
            .collect(),
        ..of_all
    };
    extend(&mut of_root, of_others);
    of_root
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
