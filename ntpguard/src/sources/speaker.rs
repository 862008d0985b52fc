//! Whose word something is. What it counts for is decided on the claim, in `allowlist::authority`.

use serde::{Deserialize, Serialize};

/// Who asks for a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Speaker {
    /// Root: a file that only root can write, one named with `--source`, or a grant by hand.
    Root,
    /// A proven daemon, by its command line.
    CommandLine,
    /// A proven daemon, by its answers and its requests.
    Daemon,
    /// Others than root, by a file that a proven daemon reads and that they can write.
    Others,
    /// A container that the administrator trusts by name.
    Container,
}

impl Speaker {
    /// The one whose word counts least, for what has no known speaker.
    pub const fn least() -> Self {
        Self::Container
    }

    /// Whose word a file is that this speaker has read, where `own` is whose it is by itself. To name
    /// a file of root's is not to have written it, but for a command line, which root wrote.
    pub(super) fn including(self, own: Self) -> Self {
        match self {
            Self::Root | Self::CommandLine => own,
            Self::Daemon | Self::Others | Self::Container => self.max(own),
        }
    }
}

pub(crate) const fn who(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Root => "root",
        Speaker::CommandLine => "a command line",
        Speaker::Daemon => "a daemon's answer",
        Speaker::Others => "a file that users other than root can write",
        Speaker::Container => "a container",
    }
}

pub(crate) const fn cure(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::CommandLine => "write it in the daemon's configuration file",
        Speaker::Others => "make the file writable by root only, or name it with --source",
        Speaker::Root | Speaker::Daemon | Speaker::Container => {
            "`ntpguard allowlist add` can grant it"
        }
    }
}
