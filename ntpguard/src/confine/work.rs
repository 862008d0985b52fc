//! The kinds of work that are done apart.

use serde::{Deserialize, Serialize};

/// What a reader does, and so what it has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// It parses texts.
    Texts,
    /// It speaks over a socket that it is given.
    Answers,
    /// It asks DNS.
    Names,
}
