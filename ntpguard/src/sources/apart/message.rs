//! What the guard and a reader of texts say to each other.

use std::io;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::super::{
    Family, Files, Host, Kind, Library as _, Severity, Speaker,
    files::{FileError, Identity, Opened},
};
use crate::processes::Program;
pub(super) use crate::readers::Name;

/// Whose texts a reader is to read, and where they begin.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Texts {
    pub(super) speaker: Speaker,
    /// The root directory that is another than the guard's.
    pub(super) root: Option<Name>,
}

impl Texts {
    pub(super) fn of(files: &Files) -> Self {
        Self {
            speaker: files.speaker(),
            root: files.root().map(Name::from),
        }
    }
}

/// What a reader is to do, the first that it hears.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Task {
    /// To read a configuration.
    Configuration {
        kind: Kind,
        serve: bool,
        texts: Texts,
        main: Name,
    },
    /// To read what a command line names.
    Arguments {
        texts: Texts,
        main: Name,
        program: Program,
        arguments: Vec<String>,
        sees_same_files: bool,
    },
    /// To say which file a command line names, and whether it names servers.
    Said {
        program: Program,
        arguments: Vec<String>,
    },
}

/// What a reader wants of the guard, until it is done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Wish {
    Text(Name),
    Entries(Name, String, u32),
    Glob(Name, u32),
    Exists(Name),
    IsDirectory(Name),
    IsNull(Name),
    Real(Name),
    /// Nothing more: this is the reading.
    Done(Box<Answer>),
}

/// What it is given.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Given {
    Text(Result<Text, Fault>),
    Names(Result<Vec<Name>, Fault>),
    Found(Result<Found, String>),
    Is(bool),
    Real(Option<Name>),
}

/// What a pattern finds, and the directories that could not be looked into.
pub(super) type Found = (Vec<Name>, Vec<(Name, Fault)>);

/// A file's text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Text {
    identity: (u64, u64),
    holds: String,
    speaker: Speaker,
}

impl From<Opened> for Text {
    fn from(opened: Opened) -> Self {
        Self {
            identity: (opened.identity.0, opened.identity.1),
            holds: opened.text,
            speaker: opened.speaker,
        }
    }
}

impl From<Text> for Opened {
    fn from(text: Text) -> Self {
        Self {
            identity: Identity(text.identity.0, text.identity.1),
            text: text.holds,
            speaker: text.speaker,
            // These the guard has made something of.
            is_open: false,
            writer: None,
        }
    }
}

/// Why a file is not given.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Fault {
    Missing,
    Denied,
    NotRegular,
    TooLarge(u64),
    Binary,
    Link,
    Withheld,
    Other(String),
}

impl From<&FileError> for Fault {
    fn from(error: &FileError) -> Self {
        match error {
            FileError::Missing => Self::Missing,
            FileError::Denied => Self::Denied,
            FileError::NotRegular => Self::NotRegular,
            FileError::TooLarge(bytes) => Self::TooLarge(*bytes),
            FileError::Binary => Self::Binary,
            FileError::Link => Self::Link,
            FileError::Withheld => Self::Withheld,
            FileError::Io(error) => Self::Other(error.to_string()),
        }
    }
}

impl From<Fault> for FileError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Missing => Self::Missing,
            Fault::Denied => Self::Denied,
            Fault::NotRegular => Self::NotRegular,
            Fault::TooLarge(bytes) => Self::TooLarge(bytes),
            Fault::Binary => Self::Binary,
            Fault::Link => Self::Link,
            Fault::Withheld => Self::Withheld,
            Fault::Other(message) => Self::Io(io::Error::other(message)),
        }
    }
}

/// A reading, as the reader has it. Of whose word it is it says nothing.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The files that places are in.
    pub(super) files: Vec<Name>,
    pub(super) wants: Vec<Wanted>,
    pub(super) problems: Vec<Complaint>,
    /// Files that cannot be read, by their numbers in `files`.
    pub(super) unreadable: Vec<u32>,
    pub(super) ports: Vec<u16>,
    pub(super) sockets: Vec<Name>,
    pub(super) watched: Vec<Name>,
}

/// A place: a file by its number in [`Answer::files`], the line and the column.
pub(super) type At = (u32, u32, u32);

/// Roles, each by its place among all.
pub(super) type Roles = Vec<u8>;

/// Something that is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Wanted {
    Source {
        host: Host,
        family: Family,
        port: u16,
        roles: Roles,
        at: At,
    },
    Prefix {
        prefix: IpNet,
        roles: Roles,
        at: At,
    },
}

/// Something that is wrong.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Complaint {
    pub(super) at: At,
    pub(super) message: String,
    pub(super) severity: Severity,
}
