//! One interface and what is on it: finding out, taking its place over, and putting the program there.

use std::{io, path::PathBuf};

use nix::libc::{EBUSY, EEXIST, ENODEV, EPERM};
use rtnetlink::packet_route::link::LinkMessage;

use super::{
    bpf_link::{self, Link},
    clsact, others, tc,
};
use crate::datapath::{
    AttachMode, AttachPoint, Attached, Error, Interface, PinDir, advice,
    guard::held::Held,
    interface::{
        netlink::{self, Occupant, Xdp},
        refusal,
    },
    object::programs::{Kind, Programs},
    pins::Hook,
};

/// What guards an interface, or did.
#[derive(Debug)]
pub(in crate::datapath) enum Occupancy {
    /// Nothing of ours.
    Nobody,
    /// A link on an XDP hook.
    Xdp(Link, Xdp),
    /// A link or a filter on the tc hook.
    Tc,
    /// A pinned link whose interface is gone; another may have its index now.
    Dead,
    /// This pinned link, of an interface of another network namespace.
    Endpoint(PathBuf),
}

impl Occupancy {
    /// Finds what of ours guards the interface of this index, of which the kernel says `message`
    /// where there is one.
    pub(in crate::datapath) fn of(
        pins: &PinDir,
        index: u32,
        message: Option<&LinkMessage>,
    ) -> Result<Self, Error> {
        let path = pins.link(Hook::Ingress, index);
        let failed = |source| Error::system(format!("open link {}", path.display()), source);
        let Some(link) = Link::open(&path).map_err(failed)? else {
            let filter = clsact::find(Hook::Ingress, index)?;
            return Ok(filter.map_or(Self::Nobody, |_| Self::Tc));
        };
        let info = link.info().map_err(failed)?;
        if info.interface == 0 {
            return Ok(Self::Dead);
        }
        // Of another network namespace, the interface can have any index.
        let message = message.filter(|_| info.interface == index);
        let found = if info.is_tcx() {
            let there = message.map(|_| bpf_link::programs_on(Hook::Ingress, index));
            let there = there.transpose().map_err(failed)?.unwrap_or_default();
            there.contains(&info.program_id).then_some(Self::Tc)
        } else {
            let occupant = message.and_then(netlink::occupant);
            let ours = occupant.filter(|occupant| occupant.program_id == info.program_id);
            ours.and_then(|occupant| occupant.hook)
                .map(|hook| Self::Xdp(link, hook))
        };
        Ok(found.unwrap_or(Self::Endpoint(path)))
    }

    /// Where the program runs, if one of ours does.
    pub(in crate::datapath) const fn how(&self) -> Option<AttachPoint> {
        match self {
            Self::Xdp(_, hook) => Some(hook.how()),
            Self::Tc => Some(AttachPoint::Tc),
            Self::Nobody | Self::Dead | Self::Endpoint(_) => None,
        }
    }
}

/// An interface found fit to be guarded.
#[derive(Debug)]
pub(in crate::datapath) struct Place {
    pub(in crate::datapath) interface: Interface,
    holder: Occupancy,
    /// The program on an XDP hook that is not ours.
    occupant: Option<Occupant>,
}

impl Place {
    /// Looks at an interface before anything is changed: whether it is guarded already, free, or
    /// cannot be guarded.
    pub(in crate::datapath) fn look(
        pins: &PinDir,
        interface: &Interface,
        mode: AttachMode,
    ) -> Result<Self, Error> {
        let message = ask(interface)?;
        let holder = Occupancy::of(pins, interface.index, Some(&message))?;
        if let Some(how) = holder.how().filter(|how| !mode.takes(*how)) {
            return Err(Error::OtherKind {
                interface: interface.name.clone(),
                how,
            });
        }
        if let Occupancy::Endpoint(path) = holder {
            return Err(Error::Endpoint(path));
        }
        let is_ours = matches!(holder, Occupancy::Xdp(..));
        let occupant = netlink::occupant(&message).filter(|_| !is_ours);
        let takes_others = mode.takes(AttachPoint::Tc) || mode.takes(AttachPoint::External);
        if holder.how().is_none() && occupant.is_some() && !takes_others {
            return Err(taken(interface, occupant));
        }
        Ok(Self {
            interface: interface.clone(),
            holder,
            occupant,
        })
    }

    /// Whether the interface is guarded already.
    pub(in crate::datapath) const fn is_guarded(&self) -> bool {
        self.holder.how().is_some()
    }

    /// Puts the program on the interface, in place of the one that guards it if one does. A new link
    /// is not pinned yet.
    pub(in crate::datapath) fn occupy(
        self,
        programs: &mut Programs,
        pins: &PinDir,
        mode: AttachMode,
    ) -> Result<(Attached, Option<Held>), Error> {
        if mode == AttachMode::External {
            return Ok((attached(self.interface, AttachPoint::External, &[]), None));
        }
        let (attached, held) = match self.holder {
            Occupancy::Xdp(link, hook) => adopt(programs, self.interface, link, hook)?,
            Occupancy::Tc => {
                let held = tc::occupy(programs, Hook::Ingress, &self.interface, pins)?;
                (adopted(self.interface, AttachPoint::Tc), held)
            }
            _ => attach(programs, self.interface, pins, mode, self.occupant)?,
        };
        Ok((attached, Some(held)))
    }
}

/// What the kernel knows of an interface.
fn ask(interface: &Interface) -> Result<LinkMessage, Error> {
    netlink::ask(interface.index)?.ok_or_else(|| Error::NoInterface(interface.name.clone()))
}

/// Swaps the program on a link, which stays on its hook.
fn adopt(
    programs: &mut Programs,
    interface: Interface,
    link: Link,
    hook: Xdp,
) -> Result<(Attached, Held), Error> {
    let mut tried = Vec::new();
    for kind in Kind::XDP {
        if !programs.has(kind) {
            continue;
        }
        match link.swap(programs.fd(kind)?) {
            Ok(()) => {
                let held = Held::of(programs, kind, Some(link))?;
                return Ok((adopted(interface, hook.how()), held));
            }
            Err(error) => note(&mut tried, hook, kind, &advice::of_xdp(hook, &error, None)),
        }
    }
    Err(Error::CannotAttach {
        interface: interface.name,
        tried,
    })
}

fn adopted(interface: Interface, how: AttachPoint) -> Attached {
    let why_not_better = (how != AttachPoint::Native)
        .then(|| "kept from before; `ntpguard unload` and a new start try native".to_owned());
    Attached {
        interface,
        how,
        why_not_better,
        adopted: true,
        egress: None,
    }
}

/// Attaches to an interface that has no program of ours, in the best way that works.
fn attach(
    programs: &mut Programs,
    interface: Interface,
    pins: &PinDir,
    mode: AttachMode,
    occupant: Option<Occupant>,
) -> Result<(Attached, Held), Error> {
    let mut tried = Vec::new();
    let mut is_taken = occupant.is_some();
    tried.extend(occupant.map(|occupant| {
        let program = described(Some(occupant));
        format!("native and generic: the interface has another XDP program, {program}")
    }));
    for how in mode.ways() {
        let hook = match how {
            AttachPoint::Native => Xdp::Native,
            AttachPoint::Generic => Xdp::Generic,
            AttachPoint::Tc => match tc::occupy(programs, Hook::Ingress, &interface, pins) {
                Ok(held) => return Ok((attached(interface, AttachPoint::Tc, &tried), held)),
                Err(error) if mode == AttachMode::Tc => return Err(error),
                Err(error) => {
                    tried.push(format!("tc: {error}"));
                    continue;
                }
            },
            AttachPoint::External => continue,
        };
        if is_taken {
            continue;
        }
        match attach_xdp(programs, &interface, hook, &mut tried) {
            Ok(Some(held)) => return Ok((attached(interface, *how, &tried), held)),
            Ok(None) => {}
            // Somebody came between the look and this.
            Err(error @ (Error::AnotherProgram { .. } | Error::AnotherNearby { .. }))
                if mode.takes(AttachPoint::Tc) =>
            {
                is_taken = true;
                tried.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::CannotAttach {
        interface: interface.name,
        tried,
    })
}

/// Attaches to one XDP hook; `None` where the kernel or the driver takes neither
/// program there, with the reasons in `tried`.
fn attach_xdp(
    programs: &mut Programs,
    interface: &Interface,
    hook: Xdp,
    tried: &mut Vec<String>,
) -> Result<Option<Held>, Error> {
    for kind in Kind::XDP {
        if !programs.has(kind) {
            continue;
        }
        let error = match Link::attach_xdp(programs.fd(kind)?, interface.index, hook) {
            Ok(link) => return Held::of(programs, kind, Some(link)).map(Some),
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(EPERM) => {
                let doing = format!("attach to {}", interface.name);
                return Err(Error::attach(doing, error));
            }
            Some(ENODEV) => return Err(Error::NoInterface(interface.name.clone())),
            _ => {}
        }
        let words = refusal::of_xdp(programs.fd(kind)?, interface.index, hook);
        if matches!(error.raw_os_error(), Some(EBUSY | EEXIST)) {
            return Err(in_the_way(interface, &error, words)?);
        }
        note(
            tried,
            hook,
            kind,
            &advice::of_xdp(hook, &error, words.as_deref()),
        );
    }
    Ok(None)
}

fn attached(interface: Interface, how: AttachPoint, tried: &[String]) -> Attached {
    let why_not_better = (how != AttachPoint::Native).then(|| {
        if tried.is_empty() {
            "as requested".to_owned()
        } else {
            tried.join("; ")
        }
    });
    Attached {
        interface,
        how,
        why_not_better,
        adopted: false,
        egress: None,
    }
}

/// What keeps the place of a program that is to be attached: another one there, or one on a device near
/// it, of which the kernel speaks.
fn in_the_way(
    interface: &Interface,
    error: &io::Error,
    words: Option<String>,
) -> Result<Error, Error> {
    let occupant = netlink::occupant(&ask(interface)?);
    Ok(match words {
        Some(words) if occupant.is_none() => Error::AnotherNearby {
            interface: interface.name.clone(),
            words: format!("{words} ({error})"),
        },
        _ => taken(interface, occupant),
    })
}

fn taken(interface: &Interface, occupant: Option<Occupant>) -> Error {
    Error::AnotherProgram {
        interface: interface.name.clone(),
        program: described(occupant),
    }
}

/// The program on an XDP hook, for people.
fn described(occupant: Option<Occupant>) -> String {
    let id = occupant.map_or(0, |occupant| occupant.program_id);
    if id == 0 {
        return "attached by another program".to_owned();
    }
    others::described(id)
}

/// Takes down a way that did not work, unless another program did not for the same reason.
fn note(tried: &mut Vec<String>, hook: Xdp, kind: Kind, why: &str) {
    let name = hook.how().name();
    let is_noted = |noted: &String| noted.starts_with(name) && noted.ends_with(why);
    if tried.iter().any(is_noted) {
        return;
    }
    let build = match kind {
        Kind::Linear => ", one buffer per frame",
        _ => "",
    };
    tried.push(format!("{name}{build}: {why}"));
}
