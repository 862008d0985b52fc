//! What keeps a process that looks like a time daemon from being believed.

use std::{fmt, path::PathBuf};

use super::accounts;

/// Something that the administrator should know of the processes. It names no process id, so that
/// it is the same finding when a service starts again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// Other users' processes are not shown to this one.
    Hidden,
    /// Which programs other accounts run may not be known.
    Closed,
    /// What proves a daemon may not be read.
    NotPermitted {
        /// The file name of its program.
        file: &'static str,
    },
    /// A daemon runs as a service's account that is not known to be its.
    UnknownAccount {
        /// The file name of its program.
        file: &'static str,
        /// The account's name, if it has one.
        account: Option<String>,
        /// The account.
        uid: u32,
    },
    /// Others than root can change what a daemon's program is.
    Writable {
        /// The file name of its program.
        file: &'static str,
        /// The program, or a directory above it.
        path: PathBuf,
    },
    /// A daemon's command line is longer than what is read of one.
    LongCommandLine {
        /// The file name of its program.
        file: &'static str,
    },
}

impl Finding {
    /// The file name of the program that it is about, if it is about one.
    pub(super) const fn file(&self) -> Option<&'static str> {
        match self {
            Self::Hidden | Self::Closed => None,
            Self::NotPermitted { file }
            | Self::UnknownAccount { file, .. }
            | Self::Writable { file, .. }
            | Self::LongCommandLine { file } => Some(file),
        }
    }

    /// Whether it may be that no daemon is found at all.
    pub const fn blinds(&self) -> bool {
        matches!(
            self,
            Self::Hidden | Self::Closed | Self::NotPermitted { .. }
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hidden => f.write_str(
                "cannot see other users' processes, so running time daemons may be missed: /proc \
                 is mounted with hidepid; run as root, or add ntpguard's group with gid=",
            ),
            Self::Closed => f.write_str(
                "cannot see which programs other users run, so running time daemons are missed: \
                 permission denied; run as root or with CAP_SYS_PTRACE, or name the daemon's \
                 configuration with --source and its unit with --trust",
            ),
            Self::NotPermitted { file } => write!(
                f,
                "cannot inspect the running {file}, so its command line and requests are ignored: \
                 permission denied; run as root or with CAP_SYS_PTRACE, or name its \
                 configuration with --source and its unit with --trust"
            ),
            Self::UnknownAccount { file, account, uid } => {
                let name = account.clone().unwrap_or_else(|| uid.to_string());
                let key = accounts::key(file);
                write!(
                    f,
                    "{file} runs as {name} (uid {uid}), which is not a known account for it, so \
                     its command line and requests are ignored; to accept it, add `accounts = {{ \
                     {key} = [{name:?}] }}` to /etc/ntpguard/ntpguard.toml"
                )
            }
            Self::Writable { file, path } => write!(
                f,
                "{file} runs from {}, which users other than root can write, so its command line \
                 and requests are ignored; make it root's, with `chmod go-w`",
                path.display()
            ),
            Self::LongCommandLine { file } => write!(
                f,
                "the command line of the running {file} is longer than 64 KiB, so it and its \
                 requests are ignored; use a configuration file"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_account_comes_with_its_cure() {
        let finding = Finding::UnknownAccount {
            file: "ntp-daemon",
            account: Some("time".to_owned()),
            uid: 33,
        };
        let text = finding.to_string();
        assert!(
            text.contains("`accounts = { ntpd-rs = [\"time\"] }`"),
            "{text}"
        );
    }
}
