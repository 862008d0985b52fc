//! In what the kernel's state can differ from what a guard is to be, for programs and for people.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use itertools::Itertools as _;

use crate::datapath::Hook;

/// One difference between what should be attached and pinned, and what the kernel says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// A program of the guard is not on its hook.
    Hook {
        /// The interface's name.
        interface: String,
        /// Its index.
        index: u32,
        /// The hook.
        hook: Hook,
        /// What happened to it, as far as the kernel shows it.
        cause: Cause,
    },
    /// What keeps the guard in the kernel without a process is not as it should be.
    Pins(PinLoss),
    /// A guarded interface has another name than the one it is to be guarded by.
    Renamed {
        /// The name in the configuration.
        from: String,
        /// Its name.
        to: String,
    },
    /// A guarded interface belongs to another, of which other members are not guarded.
    Member {
        /// The guarded interface, or one that stands on it.
        interface: String,
        /// What it belongs to.
        controller: String,
        /// Which kind of device that is.
        kind: Controller,
        /// Other members, without a guard.
        unguarded: Vec<String>,
    },
    /// Of two guarded interfaces one stands on the other.
    Stacked {
        /// The one below.
        lower: String,
        /// The one above.
        upper: String,
    },
    /// The BPF file system ends with the mount namespace or the container that this guard runs in.
    Private {
        /// The pin directory.
        pin_dir: PathBuf,
        /// How that is known.
        reach: Reach,
    },
}

/// Why a program is not on its hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The link is there, and attached to nothing.
    LinkDetached,
    /// There is no link any more.
    LinkGone,
    /// The qdisc that the filter was in is gone.
    ClsactGone,
    /// The qdisc is there, and the filter is not.
    FilterGone,
    /// Another program, of this number, is in its place.
    Replaced(u32),
}

/// What is wrong with the pins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinLoss {
    /// No BPF file system is mounted there any more.
    Unmounted {
        /// Where one was.
        at: PathBuf,
    },
    /// Another BPF file system is mounted there, which does not have them.
    MountedAnew {
        /// The pin directory.
        pin_dir: PathBuf,
    },
    /// Some, or all, were removed or replaced.
    Gone {
        /// The pin directory.
        pin_dir: PathBuf,
        /// How many.
        gone: usize,
        /// Of how many.
        of: usize,
    },
}

/// A device that others are members of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// A bond or a team: traffic goes by any of its members.
    Bond,
    /// A bridge or switch: traffic goes by the member that leads to its destination.
    Bridge,
}

/// How far a BPF file system reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// It is mounted in a mount namespace that is not the system's.
    MountNamespace,
    /// It was mounted in a container, as far as can be seen from inside.
    Container,
}

/// What can be repaired, to be repaired not too often.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::datapath) enum Repairable {
    /// A hook of an interface.
    Hook(u32, Hook),
    /// The pins.
    Pins,
    /// The guarding of an interface of this name.
    Interface(String),
}

impl Difference {
    /// What is to be repaired; `None` where an administrator must decide.
    pub(in crate::datapath) const fn repairable(&self) -> Option<Repairable> {
        match self {
            Self::Hook { index, hook, .. } => Some(Repairable::Hook(*index, *hook)),
            Self::Pins(PinLoss::MountedAnew { .. } | PinLoss::Gone { .. }) => {
                Some(Repairable::Pins)
            }
            _ => None,
        }
    }

    /// Whether it is about this hook of this interface.
    pub(in crate::datapath) fn is_of(&self, interface: u32, wanted: Hook) -> bool {
        matches!(self, Self::Hook { index, hook, .. } if (*index, *hook) == (interface, wanted))
    }

    /// The interface that it is about, by its name.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Hook { interface, .. } | Self::Member { interface, .. } => Some(interface),
            Self::Renamed { to: name, .. } | Self::Stacked { lower: name, .. } => Some(name),
            Self::Pins(_) | Self::Private { .. } => None,
        }
    }

    /// What an administrator can do about it.
    pub fn cure(&self) -> String {
        match self {
            Self::Hook { .. } => {
                "find what detaches it (`bpftool link`, `bpftool net`), then restart the guard"
                    .to_owned()
            }
            Self::Pins(PinLoss::Unmounted { at }) => {
                format!("run `mount -t bpf bpf {}`", at.display())
            }
            Self::Pins(_) => {
                "find what removes them, then restart the guard with --replace".to_owned()
            }
            Self::Renamed { to, .. } => format!("name it in the configuration: -i {to}"),
            Self::Member {
                interface,
                controller,
                kind: Controller::Bond,
                unguarded,
            } => {
                let members = unguarded.iter().map(|member| format!(" -i {member}"));
                let members: String = members.collect();
                format!(
                    "guard {controller} (-i {controller}), or all its members (-i \
                     {interface}{members})"
                )
            }
            Self::Member { controller, .. } => {
                format!("guard {controller} (-i {controller}) for this host's own time")
            }
            Self::Stacked { upper, .. } => format!("guard one of them, usually {upper}"),
            Self::Private {
                reach: Reach::MountNamespace,
                ..
            } => "mount a BPF file system in the host's mount namespace (`mount -t bpf bpf \
                 /sys/fs/bpf`) before starting the guard"
                .to_owned(),
            Self::Private { .. } => {
                "give the container the host's BPF file system (bind-mount /sys/fs/bpf)".to_owned()
            }
        }
    }
}

/// For people: what is wrong, and why as far as it is known.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hook {
                interface,
                hook,
                cause,
                ..
            } => write!(
                f,
                "the {} program is no longer attached to {interface} ({})",
                hook.name(),
                because(*cause, interface)
            ),
            Self::Pins(loss) => loss.fmt(f),
            Self::Renamed { from, to } => {
                write!(
                    f,
                    "{from} was renamed to {to}: {to} stays guarded, and a new {from} is guarded too"
                )
            }
            Self::Member {
                interface,
                controller,
                kind,
                unguarded,
            } => {
                let members = unguarded.iter().join(", ");
                match kind {
                    Controller::Bond => write!(
                        f,
                        "{interface} is a member of {controller}, and {members} is not guarded: \
                         the guard sees only part of the traffic"
                    ),
                    Controller::Bridge => write!(
                        f,
                        "{interface} is a port of {controller}: its other ports ({members}) are \
                         not guarded"
                    ),
                }
            }
            Self::Stacked { lower, upper } => write!(
                f,
                "{lower} and {upper} are now two devices of one stack: {upper} sees each request \
                 answered already, and drops the replies"
            ),
            Self::Private { pin_dir, reach } => write!(
                f,
                "the BPF file system of {} {}",
                pin_dir.display(),
                match reach {
                    Reach::MountNamespace =>
                        "is mounted in this process's mount namespace only: the guard does not \
                         outlive it",
                    Reach::Container =>
                        "seems to be this container's own: the guard does not outlive the container",
                }
            ),
        }
    }
}

fn because(cause: Cause, interface: &str) -> String {
    match cause {
        Cause::LinkDetached => "link detached".to_owned(),
        Cause::LinkGone => "its link is gone".to_owned(),
        Cause::ClsactGone => format!("qdisc clsact of {interface} was removed"),
        Cause::FilterGone => "its filter was removed".to_owned(),
        Cause::Replaced(id) => format!("program {id} is in its place"),
    }
}

impl fmt::Display for PinLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = |f: &mut fmt::Formatter<'_>, dir: &Path| write!(f, "below {}", dir.display());
        match self {
            Self::Unmounted { at } => write!(
                f,
                "{} is no longer mounted: the guard ends with this process",
                at.display()
            ),
            Self::MountedAnew { pin_dir } => {
                f.write_str("pins ")?;
                below(f, pin_dir)?;
                f.write_str(" are gone: another BPF file system is mounted there")
            }
            Self::Gone { pin_dir, gone, of } if gone == of => {
                f.write_str("pins ")?;
                below(f, pin_dir)?;
                f.write_str(" are gone")
            }
            Self::Gone { pin_dir, gone, of } => {
                write!(f, "{gone} of {of} pins ")?;
                below(f, pin_dir)?;
                f.write_str(" are gone")
            }
        }
    }
}
