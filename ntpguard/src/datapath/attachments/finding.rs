//! What `status` is told of attachments: what the kernel has now, not what was attached once.

use std::fmt;

use super::difference::Difference;
use crate::datapath::{Attached, Tc};

/// Why nothing judges where others are to attach the program.
pub(in crate::datapath) const NOT_ATTACHED_BY_OTHERS: &str =
    "the program of `ntpguard object` is not attached over these maps";

/// A look at the attachments of a guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The interfaces that should be guarded and are there.
    pub interfaces: Vec<Looked>,
    /// What differs from what should be.
    pub findings: Vec<Finding>,
}

impl Look {
    /// Whether anything of the guard judges what arrives at any interface.
    pub fn is_guarding(&self) -> bool {
        self.interfaces.iter().any(|one| one.why_open.is_none())
    }
}

/// An interface that should be guarded, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// What was attached, under its name of now.
    pub attached: Attached,
    /// Why nothing of the guard judges what arrives; `None` where it does.
    pub why_open: Option<String>,
    /// What notes the requests that leave, if anything does.
    pub egress: Option<Tc>,
    /// Why nothing does, where it should.
    pub why_untracked: Option<String>,
}

/// A difference, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The difference.
    pub difference: Difference,
    /// What becomes of it.
    pub outlook: Outlook,
}

/// What becomes of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It is repaired within a minute.
    Repaired,
    /// It could not be repaired, for this reason, and is tried again.
    Failed(String),
    /// It was repaired several times, and is left as it is.
    Left,
    /// An administrator must decide.
    Stays,
}

impl Finding {
    /// What an administrator can do; `None` where nothing is needed.
    pub fn cure(&self) -> Option<String> {
        match self.outlook {
            Outlook::Repaired => None,
            Outlook::Failed(_) | Outlook::Left | Outlook::Stays => Some(self.difference.cure()),
        }
    }
}

/// For people, without the cure.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.difference.fmt(f)?;
        match &self.outlook {
            Outlook::Repaired => f.write_str("; it is repaired within a minute"),
            Outlook::Failed(why) => write!(f, "; it cannot be repaired: {why}"),
            Outlook::Left => {
                f.write_str("; not repaired any more, after three repairs within ten minutes")
            }
            Outlook::Stays => Ok(()),
        }
    }
}
