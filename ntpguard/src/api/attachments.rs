//! What `status` tells of interfaces, and of what should be attached to them.

use serde::{Deserialize, Serialize};

use crate::datapath::{self, AttachPoint, Guarded, Looked, Missing};

/// A guarded interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name; absent where it is gone.
    pub name: Option<String>,
    /// `native`, `generic`, `tc`, or `external` where somebody else attached the program.
    pub attached: Option<String>,
    /// Why it is not attached in a better way.
    pub why_not_better: Option<String>,
    /// What passes there unseen.
    #[serde(default)]
    pub blind_to: Option<String>,
    /// Why it is not attached at all, where it is to be.
    pub why_not_attached: Option<String>,
    /// `tcx` or `clsact`: how the requests that leave are noted; absent where they are not.
    pub egress: Option<String>,
    /// Why they are not, where they should be.
    #[serde(default)]
    pub why_untracked: Option<String>,
}

impl Interface {
    /// Tells of an interface that a living daemon guards, as the kernel has it.
    pub fn of(looked: &Looked) -> Self {
        let Looked {
            attached,
            why_open,
            egress,
            why_untracked,
        } = looked;
        let judges = why_open.is_none();
        Self {
            index: attached.interface.index,
            name: Some(attached.interface.name.clone()),
            attached: judges.then(|| attached.how.name().to_owned()),
            why_not_better: attached.why_not_better.clone().filter(|_| judges),
            blind_to: blind_to(attached.how).filter(|_| judges),
            why_not_attached: why_open.clone(),
            egress: egress.map(|egress| egress.name().to_owned()),
            why_untracked: why_untracked.clone(),
        }
    }

    /// Tells of an interface that a living daemon is to guard and does not.
    pub fn of_missing(missing: &Missing) -> Self {
        let gone = || "it is gone, and will be guarded again when it returns".to_owned();
        Self {
            index: missing.interface.index,
            name: Some(missing.interface.name.clone()),
            attached: None,
            why_not_better: None,
            blind_to: None,
            why_not_attached: Some(missing.trouble.clone().unwrap_or_else(gone)),
            egress: None,
            why_untracked: None,
        }
    }

    /// Tells of an interface that a guard without a daemon is to be on.
    pub(crate) fn of_pinned(guarded: &Guarded) -> Self {
        Self {
            index: guarded.index,
            name: guarded.name.clone(),
            attached: guarded.how.map(|how| how.name().to_owned()),
            why_not_better: None,
            blind_to: guarded.how.and_then(blind_to),
            why_not_attached: guarded.why_open.clone(),
            egress: guarded.egress.map(|egress| egress.name().to_owned()),
            why_untracked: guarded.why_untracked.clone(),
        }
    }
}

/// A difference between what should be attached and pinned, and what the kernel has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The interface that it is about; absent where it is about the whole guard.
    pub interface: Option<String>,
    /// What differs, and why as far as that is known.
    pub what: String,
    /// What an administrator can do; absent where the daemon repairs it.
    pub cure: Option<String>,
}

impl Finding {
    /// Tells of a finding.
    pub fn of(finding: &datapath::Finding) -> Self {
        Self {
            interface: finding.difference.interface().map(str::to_owned),
            what: finding.to_string(),
            cure: finding.cure(),
        }
    }
}

fn blind_to(how: AttachPoint) -> Option<String> {
    how.blind_to().map(str::to_owned)
}
