//! What can go wrong between this program and the kernel.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{EbpfError, maps::MapError, pin::PinError, programs::ProgramError};
use nix::libc::{EACCES, EPERM};
use ntpguard_common::tables::MAX_INTERFACES;

use super::{How, Incomplete};

/// How many of the verifier's last lines an error keeps: the last ones tell the reason.
const VERIFIER_LINES: usize = 12;

/// What went wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process may not do this.
    #[error("cannot {doing}: it needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")]
    Privilege {
        /// What was tried.
        doing: String,
    },
    /// A system call on a file or a link failed.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was tried.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The embedded object could not be loaded.
    #[error("the kernel does not take the guard's object: {}", chain(.0))]
    Object(#[source] Box<EbpfError>),
    /// The embedded object lacks a part: it and this program are of different builds.
    #[error("the embedded object has no {0}: build ntpguard again")]
    Missing(String),
    /// The kernel refused a program.
    #[error("the kernel refuses program {program}: {source}; the verifier's last lines:\n{log}")]
    Refused {
        /// The program's name.
        program: &'static str,
        /// The last lines of the verifier's log.
        log: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program could not be loaded, pinned or run.
    #[error("cannot {doing}: {}", chain(.source))]
    Program {
        /// What was tried.
        doing: String,
        /// What the kernel said.
        source: Box<ProgramError>,
    },
    /// A program or map could not be pinned.
    #[error("cannot pin {}: {}", .path.display(), chain(.source))]
    Pin {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: PinError,
    },
    /// A map could not be opened, read or written.
    #[error("cannot {doing} map {map}: {}", chain(.source))]
    Map {
        /// The map.
        map: String,
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        source: MapError,
    },
    /// Not all changes of the tables could be made.
    #[error(transparent)]
    Incomplete(#[from] Box<Incomplete>),

    /// The pin directory is not on a BPF file system.
    #[error(
        "{} is not on a BPF file system: run `mount -t bpf bpf {}`, or give another --pin-dir",
        .pin_dir.display(), .mount_at.display()
    )]
    NotBpffs {
        /// The pin directory.
        pin_dir: PathBuf,
        /// Where a BPF file system would do.
        mount_at: PathBuf,
    },
    /// The pin directory has a name that the BPF file system refuses.
    #[error("{} has a dot in its name, which the BPF file system refuses: give another --pin-dir", .0.display())]
    DottedName(PathBuf),
    /// Somebody else holds the lock.
    #[error(
        "{} is locked by another ntpguard, and still was after {} s: wait for it to end",
        .pin_dir.display(), .waited.as_secs()
    )]
    Locked {
        /// The pin directory.
        pin_dir: PathBuf,
        /// How long this process waited.
        waited: Duration,
    },
    /// What is pinned is of another version, or was left half made.
    #[error(
        "{} holds tables that this ntpguard cannot use ({why}): `ntpguard run` makes new ones, \
         `ntpguard unload` removes them", .pin_dir.display()
    )]
    Unusable {
        /// The pin directory.
        pin_dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// The maps in use are pinned nowhere any more.
    #[error("the pins below {} are gone, and are not made again yet", .0.display())]
    PinsGone(PathBuf),
    /// The kernel did not answer a question about interfaces or routes.
    #[error("cannot {doing}: {source}")]
    Netlink {
        /// What was tried.
        doing: String,
        /// What rtnetlink said.
        source: rtnetlink::Error,
    },
    /// There is no such interface.
    #[error("there is no interface {0}: `ip link` lists those there are")]
    NoInterface(String),
    /// No interface was named and none is the obvious one.
    #[error("there is no default route: name the interface with -i")]
    NoDefaultRoute,
    /// Frames of this interface do not start with anything the guard reads.
    #[error(
        "{name} is of link type {number} ({kind}): the guard reads Ethernet (1), loopback (772), \
         and bare IP (tun and WireGuard 65534, PPP 512, raw IP 519)"
    )]
    LinkType {
        /// The interface.
        name: String,
        /// Its `ARPHRD_*` number.
        number: u16,
        /// The number's name.
        kind: String,
    },
    /// More interfaces than the tables can name.
    #[error(
        "{0} interfaces are too many: one guard takes {MAX_INTERFACES}, several can run with --pin-dir"
    )]
    TooManyInterfaces(usize),
    /// One interface stands on another.
    #[error(
        "{lower} and {upper} are two devices of one stack: a packet goes through both, and the \
         second would find its request answered already. Guard one of them; {upper} is the usual one"
    )]
    Stacked {
        /// The port, or the parent.
        lower: String,
        /// The bridge, bond or VLAN.
        upper: String,
    },
    /// The interface already has an XDP program that is not ours.
    #[error(
        "{interface} already has an XDP program, {program}, which ntpguard does not replace: give \
         --attach auto or tc to judge what it passes, or detach it (`bpftool net` shows it, `ip link \
         set dev {interface} xdp off` removes one without a link)"
    )]
    AnotherProgram {
        /// The interface.
        interface: String,
        /// The program's name and id.
        program: String,
    },
    /// No way of attaching worked.
    #[error("cannot attach to {interface}: {}", .tried.join("; "))]
    CannotAttach {
        /// The interface.
        interface: String,
        /// Each way tried, and why it failed.
        tried: Vec<String>,
    },
    /// The interface is guarded, in another way than the one demanded.
    #[error(
        "{interface} is guarded already, by {how}, which cannot change to another way without \
         leaving the interface open: run `ntpguard unload` first, or give --attach auto"
    )]
    OtherKind {
        /// The interface.
        interface: String,
        /// How it is attached.
        how: How,
    },
    /// The pinned link belongs to an interface of another network namespace.
    #[error(
        "{} guards an interface of another network namespace: give this one another --pin-dir",
        .0.display()
    )]
    Elsewhere(PathBuf),
}

impl Error {
    /// What `tried` to be done and met `source`.
    pub(super) fn system(doing: impl Into<String>, source: io::Error) -> Self {
        let doing = doing.into();
        if forbids(&source) {
            Self::Privilege { doing }
        } else {
            Self::System { doing, source }
        }
    }

    /// Like [`Self::system`], of an object in the pin directory.
    pub(super) fn map(map: impl Into<String>, doing: &'static str, source: MapError) -> Self {
        let map = map.into();
        if source_io(&source).is_some_and(forbids) {
            return Self::Privilege {
                doing: format!("{doing} map {map}"),
            };
        }
        Self::Map { map, doing, source }
    }

    /// What came of pinning a program or map at `path`.
    pub(super) fn pin(path: &Path, source: PinError) -> Self {
        if source_io(&source).is_some_and(forbids) {
            return Self::Privilege {
                doing: format!("pin {}", path.display()),
            };
        }
        Self::Pin {
            path: path.to_owned(),
            source,
        }
    }

    /// What came of loading the object, before its programs.
    pub(super) fn object(source: EbpfError) -> Self {
        if source_io(&source).is_some_and(forbids) {
            return Self::Privilege {
                doing: "load the guard into the kernel".to_owned(),
            };
        }
        Self::Object(Box::new(source))
    }

    /// What came of loading `program`.
    pub(super) fn load(program: &'static str, source: ProgramError) -> Self {
        match source {
            // EACCES is the verifier's, for a program that reaches where it may not.
            ProgramError::LoadError {
                io_error,
                verifier_log,
            } if io_error.raw_os_error() == Some(EPERM) && verifier_log.to_string().is_empty() => {
                Self::Privilege {
                    doing: format!("load program {program}"),
                }
            }
            ProgramError::LoadError {
                io_error,
                verifier_log,
            } => {
                let log = last_lines(&verifier_log.to_string(), VERIFIER_LINES);
                Self::Refused {
                    program,
                    log,
                    source: io_error,
                }
            }
            source => Self::program(format!("load program {program}"), source),
        }
    }

    /// What came of anything else done with a program.
    pub(super) fn program(doing: impl Into<String>, source: ProgramError) -> Self {
        Self::Program {
            doing: doing.into(),
            source: Box::new(source),
        }
    }
}

/// Whether the kernel says that this process lacks the right.
fn forbids(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EPERM | EACCES))
}

/// The kernel's own answer behind an error, where there is one.
pub(super) fn source_io<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        next = error.source();
    }
    None
}

/// An error and what is behind it on one line: aya tells the errno only in its sources.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = error.source();
    }
    text
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(count))
        .copied()
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_privilege_is_told_as_such() {
        let error = Error::system("pin map INFO", io::Error::from_raw_os_error(EPERM));
        assert_eq!(
            error.to_string(),
            "cannot pin map INFO: it needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
        );
    }

    #[test]
    fn the_errno_behind_a_map_error_is_told() {
        let source = MapError::SyscallError(aya::sys::SyscallError {
            call: "bpf_map_update_elem",
            io_error: io::Error::from_raw_os_error(nix::libc::EINVAL),
        });
        let text = Error::map("INFO", "write", source).to_string();
        assert!(
            text.contains("INFO") && text.contains("Invalid argument"),
            "{text}"
        );
    }

    #[test]
    fn a_refused_program_keeps_the_last_lines_of_the_log() {
        let lines: Vec<String> = (1..=40).map(|line| format!("line {line}\n")).collect();
        let log = lines.join("\n");
        let kept = last_lines(&log, VERIFIER_LINES);
        assert_eq!(kept.lines().count(), VERIFIER_LINES);
        assert!(
            kept.starts_with("line 29") && kept.ends_with("line 40"),
            "{kept}"
        );
    }
}
