//! What can go wrong between this program and the kernel.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{EbpfError, maps::MapError, pin::PinError, programs::ProgramError};
use ntpguard_common::maps::tables::MAX_INTERFACES;

use super::{
    AttachPoint, Incomplete,
    advice::{self, Attempt, Facts},
};
use crate::{causes::joined, extack};

/// How many of the verifier's last lines an error keeps: the last ones tell the reason.
const VERIFIER_LINES: usize = 12;

/// What went wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process may not do this.
    #[error("cannot {doing}: {why}")]
    Privilege {
        /// What was tried.
        doing: String,
        /// What it lacks, and how to have it.
        why: String,
    },
    /// The kernel refused, and the cause is known.
    #[error("cannot {doing}: {why} ({source})")]
    Known {
        /// What was tried.
        doing: String,
        /// What is wrong, and what to do about it.
        why: String,
        /// What the kernel said.
        source: io::Error,
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
    #[error("the kernel rejected the guard's BPF object: {}", joined(&**.0))]
    Object(#[source] Box<EbpfError>),
    /// The embedded object lacks a part: it and this program are of different builds.
    #[error("the embedded BPF object has no {0}: rebuild ntpguard")]
    Missing(String),
    /// The kernel refused a program.
    #[error(
        "the kernel rejected program {program}: {source}; last lines of the verifier \
             log:\n{log}"
    )]
    Refused {
        /// The program's name.
        program: &'static str,
        /// The last lines of the verifier's log.
        log: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program could not be loaded, pinned or run.
    #[error("cannot {doing}: {}", joined(&**.source))]
    Program {
        /// What was tried.
        doing: String,
        /// What the kernel said.
        source: Box<ProgramError>,
    },
    /// A program or map could not be pinned.
    #[error("cannot pin {}: {}", .path.display(), joined(.source))]
    Pin {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: PinError,
    },
    /// A map could not be opened, read or written.
    #[error("cannot {doing} map {map}: {}", joined(.source))]
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
        "{} is not on a BPF file system: run `mount -t bpf bpf {}`, or use another --pin-dir",
        .pin_dir.display(), .mount_at.display()
    )]
    NotBpffs {
        /// The pin directory.
        pin_dir: PathBuf,
        /// Where a BPF file system would do.
        mount_at: PathBuf,
    },
    /// The pin directory has a name that the BPF file system refuses.
    #[error("{} has a dot in its name, which the BPF file system does not allow: use another \
             --pin-dir", .0.display())]
    DottedName(PathBuf),
    /// Somebody else holds the lock.
    #[error(
        "{} is still locked by another ntpguard after {} s: wait for it to finish",
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
        "{} holds maps that this version of ntpguard cannot use ({why}): `ntpguard run` replaces \
         them, `ntpguard unload` removes them", .pin_dir.display()
    )]
    Unusable {
        /// The pin directory.
        pin_dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// The maps in use are pinned nowhere any more.
    #[error("the pins below {} are gone, and not recreated yet", .0.display())]
    PinsGone(PathBuf),
    /// The kernel did not answer a question about interfaces or routes.
    #[error("cannot {doing}: {}", extack::text(.source))]
    Netlink {
        /// What was tried.
        doing: String,
        /// What rtnetlink said.
        source: rtnetlink::Error,
    },
    /// There is no such interface.
    #[error("no such interface: {0}; `ip link` lists them")]
    NoInterface(String),
    /// No interface was named and none is the obvious one.
    #[error("no default route: name the interface with -i")]
    NoDefaultRoute,
    /// Frames of this interface do not start with anything the guard reads.
    #[error(
        "{name} has link type {number} ({kind}): supported are Ethernet (1), loopback (772), and \
         bare IP (tun and WireGuard 65534, PPP 512, raw IP 519)"
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
        "too many interfaces: {0}, at most {MAX_INTERFACES} per guard; run several with --pin-dir"
    )]
    TooManyInterfaces(usize),
    /// One interface stands on another.
    #[error(
        "{lower} and {upper} are two devices of one stack: a packet passes both, and the second \
         would see its request answered already. Guard one of them, usually {upper}"
    )]
    Stacked {
        /// The port, or the parent.
        lower: String,
        /// The bridge, bond or VLAN.
        upper: String,
    },
    /// The interface already has an XDP program that is not ours.
    #[error(
        "{interface} already has an XDP program, {program}, which ntpguard does not replace: use \
         --attach auto or tc to judge what it passes, or detach it (`bpftool net` shows it, `ip \
         link set dev {interface} xdp off` removes one without a link)"
    )]
    AnotherProgram {
        /// The interface.
        interface: String,
        /// The program's name and id.
        program: String,
    },
    /// A device that stands on the interface, or on which it stands, has an XDP program, or there is one
    /// in another mode.
    #[error(
        "{interface} cannot have an XDP program: {words}; guard the device that has one, detach \
         that, or use --attach tc"
    )]
    AnotherNearby {
        /// The interface.
        interface: String,
        /// What the kernel said.
        words: String,
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
        "{interface} is already guarded by {how}, which cannot change without leaving the \
         interface unguarded: run `ntpguard unload` first, or use --attach auto"
    )]
    OtherKind {
        /// The interface.
        interface: String,
        /// How it is attached.
        how: AttachPoint,
    },
    /// The pinned link belongs to an interface of another network namespace.
    #[error(
        "{} guards an interface of another network namespace: use another --pin-dir",
        .0.display()
    )]
    Endpoint(PathBuf),
}

impl Error {
    /// What `tried` to be done and met `source`.
    pub(super) fn system(doing: impl Into<String>, source: io::Error) -> Self {
        Self::met(Attempt::Other, doing.into(), source)
    }

    /// The same of something that concerns interfaces.
    pub(super) fn attach(doing: impl Into<String>, source: io::Error) -> Self {
        Self::met(Attempt::Attach, doing.into(), source)
    }

    fn met(attempt: Attempt, doing: String, source: io::Error) -> Self {
        match Self::known(attempt, &doing, &source) {
            Some(known) => known,
            None => Self::System { doing, source },
        }
    }

    /// The error that this is, if the cause is known.
    fn known(attempt: Attempt, doing: &str, source: &io::Error) -> Option<Self> {
        let advice = advice::of(attempt, source, &Facts::now())?;
        let (doing, why) = (doing.to_owned(), advice.text);
        Some(if advice.is_privilege {
            Self::Privilege { doing, why }
        } else {
            Self::Known {
                doing,
                why,
                source: again(source),
            }
        })
    }

    /// What came of something done with a map.
    pub(super) fn map(map: impl Into<String>, doing: &'static str, source: MapError) -> Self {
        let map = map.into();
        let known = source_io(&source)
            .and_then(|source| Self::known(Attempt::Map, &format!("{doing} map {map}"), source));
        known.unwrap_or(Self::Map { map, doing, source })
    }

    /// What came of pinning a program or map at `path`.
    pub(super) fn pin(path: &Path, source: PinError) -> Self {
        let doing = format!("pin {}", path.display());
        let known = source_io(&source).and_then(|source| Self::known(Attempt::Pin, &doing, source));
        known.unwrap_or_else(|| Self::Pin {
            path: path.to_owned(),
            source,
        })
    }

    /// What came of loading the object, before its programs.
    pub(super) fn object(source: EbpfError) -> Self {
        let known = source_io(&source)
            .and_then(|source| Self::known(Attempt::Map, "create the guard's maps", source));
        known.unwrap_or_else(|| Self::Object(Box::new(source)))
    }

    /// What came of loading `program`. What the verifier said counts where this process lacks nothing.
    pub(super) fn load(program: &'static str, source: ProgramError) -> Self {
        let doing = format!("load program {program}");
        match source {
            ProgramError::LoadError {
                io_error,
                verifier_log,
            } => {
                let log = verifier_log.to_string();
                match Self::known(Attempt::Program, &doing, &io_error) {
                    Some(known @ Self::Privilege { .. }) => known,
                    Some(known) if log.is_empty() => known,
                    _ => Self::Refused {
                        program,
                        log: last_lines(&log, VERIFIER_LINES),
                        source: io_error,
                    },
                }
            }
            source => Self::program(doing, source),
        }
    }

    /// What came of anything else done with a program.
    pub(super) fn program(doing: impl Into<String>, source: ProgramError) -> Self {
        let doing = doing.into();
        let known =
            source_io(&source).and_then(|source| Self::known(Attempt::Program, &doing, source));
        known.unwrap_or_else(|| Self::Program {
            doing,
            source: Box::new(source),
        })
    }
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
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
mod tests;
