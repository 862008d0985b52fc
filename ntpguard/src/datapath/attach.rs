//! Putting the program on an interface.

use std::io;

use aya::programs::loaded_programs;
use nix::libc::{EBUSY, EEXIST, EINVAL, ENODEV, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM, ERANGE};
use serde::{Deserialize, Serialize};

use super::{
    Egress, Error, Interface, PinDir,
    link::Link,
    netlink::{self, Connection, Occupant},
    pins::{self, Hook},
    programs::{Kind, Programs},
};

/// Where the program is to run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// In the driver or, where it cannot, in the network stack.
    #[default]
    Auto,
    /// In the driver alone.
    Native,
    /// In the network stack.
    Generic,
}

impl AttachMode {
    /// The ways to try, best first.
    const fn ways(self) -> &'static [How] {
        match self {
            Self::Auto => &[How::Native, How::Generic],
            Self::Native => &[How::Native],
            Self::Generic => &[How::Generic],
        }
    }
}

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// In the driver, before the kernel has made a socket buffer of the frame.
    Native,
    /// In the network stack, with any driver.
    Generic,
}

impl How {
    /// The name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A guarded interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Which.
    pub interface: Interface,
    /// Where the program runs, as the kernel says.
    pub how: How,
    /// Why it does not run in a better place.
    pub why_not_better: Option<String>,
    /// Whether the interface was guarded before, and its link has a new program now.
    pub adopted: bool,
    /// How what leaves is noted; `None` where requests are not tracked.
    pub egress: Option<Egress>,
}

/// An interface found fit to be guarded.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) interface: Interface,
    /// The link that guards it now, and how.
    guarded: Option<(Link, How)>,
}

impl Place {
    /// Looks at an interface before anything is changed: whether it is guarded already, free, or
    /// cannot be guarded.
    pub(super) fn look(
        pins: &PinDir,
        interface: &Interface,
        mode: AttachMode,
    ) -> Result<Self, Error> {
        let occupant = occupant(interface)?;
        let path = pins.link(Hook::Ingress, interface.index);
        let failed = |source| Error::system(format!("open link {}", path.display()), source);
        if let Some(link) = Link::open(&path).map_err(failed)? {
            let info = link.info().map_err(failed)?;
            let here = occupant.filter(|occupant| occupant.program_id == info.program_id);
            match here {
                Some(Occupant { how: Some(how), .. }) if info.interface == interface.index => {
                    if !mode.ways().contains(&how) {
                        return Err(Error::OtherKind {
                            interface: interface.name.clone(),
                            how,
                        });
                    }
                    return Ok(Self {
                        interface: interface.clone(),
                        guarded: Some((link, how)),
                    });
                }
                // The interface it was made for is gone, and another has its index.
                _ if info.interface == 0 => {}
                _ => return Err(Error::Elsewhere(path)),
            }
        }
        match occupant {
            Some(occupant) => Err(taken(interface, Some(occupant))),
            None => Ok(Self {
                interface: interface.clone(),
                guarded: None,
            }),
        }
    }

    /// Whether the interface is guarded already.
    pub(super) const fn is_guarded(&self) -> bool {
        self.guarded.is_some()
    }

    /// Puts the program on the interface, in place of the one that guards it if one does, and
    /// pins the link. Says which build of the program it was.
    pub(super) fn occupy(
        self,
        programs: &mut Programs,
        pins: &PinDir,
        mode: AttachMode,
    ) -> Result<(Attached, Kind), Error> {
        match self.guarded {
            Some((link, how)) => adopt(programs, self.interface, &link, how),
            None => attach(programs, self.interface, pins, mode),
        }
    }
}

/// The XDP program that an interface has now.
fn occupant(interface: &Interface) -> Result<Option<Occupant>, Error> {
    let link =
        netlink::blocking(async { Connection::open()?.link_by_index(interface.index).await })?;
    let link = link.ok_or_else(|| Error::NoInterface(interface.name.clone()))?;
    Ok(netlink::occupant(&link))
}

/// Swaps the program on a link, which keeps its kind.
fn adopt(
    programs: &mut Programs,
    interface: Interface,
    link: &Link,
    how: How,
) -> Result<(Attached, Kind), Error> {
    let mut tried = Vec::new();
    for kind in Kind::ALL {
        if !programs.has(kind) {
            continue;
        }
        match link.swap(programs.fd(kind)?) {
            Ok(()) => {
                let why_not_better = (how == How::Generic).then(|| {
                    "it was attached so before; `ntpguard unload` and a new start would try native"
                        .to_owned()
                });
                return Ok((
                    Attached {
                        interface,
                        how,
                        why_not_better,
                        adopted: true,
                        egress: None,
                    },
                    kind,
                ));
            }
            Err(error) => tried.push(attempt(how, kind, &error)),
        }
    }
    Err(Error::CannotAttach {
        interface: interface.name,
        tried,
    })
}

/// Attaches to an interface that has no program, in the best way that works.
fn attach(
    programs: &mut Programs,
    interface: Interface,
    pins: &PinDir,
    mode: AttachMode,
) -> Result<(Attached, Kind), Error> {
    let mut tried = Vec::new();
    for how in mode.ways() {
        for kind in Kind::ALL {
            if !programs.has(kind) {
                continue;
            }
            match Link::attach_xdp(programs.fd(kind)?, interface.index, *how) {
                Ok(link) => {
                    pins::pin_link(&link, &pins.link(Hook::Ingress, interface.index))?;
                    let could_be_better = AttachMode::Auto.ways().first() != Some(how);
                    let why_not_better = could_be_better.then(|| {
                        if tried.is_empty() {
                            "it was asked for".to_owned()
                        } else {
                            tried.join("; ")
                        }
                    });
                    let attached = Attached {
                        interface,
                        how: *how,
                        why_not_better,
                        adopted: false,
                        egress: None,
                    };
                    return Ok((attached, kind));
                }
                Err(error) => match error.raw_os_error() {
                    Some(EPERM) => {
                        return Err(Error::system(
                            format!("attach to {}", interface.name),
                            error,
                        ));
                    }
                    Some(EBUSY | EEXIST) => return Err(taken(&interface, occupant(&interface)?)),
                    Some(ENODEV) => return Err(Error::NoInterface(interface.name)),
                    _ => tried.push(attempt(*how, kind, &error)),
                },
            }
        }
    }
    Err(Error::CannotAttach {
        interface: interface.name,
        tried,
    })
}

fn taken(interface: &Interface, occupant: Option<Occupant>) -> Error {
    let id = occupant.map_or(0, |occupant| occupant.program_id);
    let found = loaded_programs()
        .flatten()
        .find(|program| id != 0 && program.id() == id);
    let name = found
        .as_ref()
        .and_then(|program| program.name_as_str())
        .unwrap_or("of no name");
    let program = if id == 0 {
        "attached by somebody else".to_owned()
    } else {
        format!("{name} (id {id})")
    };
    Error::AnotherProgram {
        interface: interface.name.clone(),
        program,
    }
}

/// One way that did not work, and why.
fn attempt(how: How, kind: Kind, error: &io::Error) -> String {
    let build = match kind {
        Kind::Frags => "",
        Kind::Linear => ", one buffer a frame",
    };
    format!("{how}{build}: {}", explain(how, error))
}

/// What drivers mean by their error numbers.
fn explain(how: How, error: &io::Error) -> String {
    let meaning = match (error.raw_os_error(), how) {
        (Some(EOPNOTSUPP), How::Native) => {
            "the driver has no native XDP, or not with the offloads that are on"
        }
        (Some(EOPNOTSUPP), How::Generic) => "the kernel has no generic XDP for this interface",
        (Some(ERANGE | EINVAL), _) => "the driver refuses it, most often for the MTU: lower it",
        (Some(ENOMEM | ENOSPC), _) => {
            "the device has no queues to spare for XDP: `ethtool -L` gives it more, or uses fewer"
        }
        _ => return error.to_string(),
    };
    format!("{meaning} ({error})")
}
