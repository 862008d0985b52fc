//! What is wrong, where, and how bad that is.

use std::{fmt, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

/// Where in a configuration file something stands. Lines and columns count from 1, columns in
/// characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line.
    pub line: u32,
    /// The column of the word that matters.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Something in a configuration file that the reader has to tell the administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where; the line is 0 where the file as a whole is meant.
    pub place: Place,
    /// What is wrong and what to do about it.
    pub message: String,
    /// How bad it is.
    pub severity: Severity,
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Understood, and left out on purpose: the administrator should know.
    Note,
    /// One line could not be read and was left out; the others count.
    Error,
    /// The file itself could not be read, so what it asked for earlier stays.
    Unreadable,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.line == 0 {
            write!(f, "{}: {}", self.place.file.display(), self.message)
        } else {
            write!(f, "{}: {}", self.place, self.message)
        }
    }
}
