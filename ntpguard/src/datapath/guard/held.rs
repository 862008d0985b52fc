//! What this process holds of a guard in the kernel: descriptors, which stay valid when paths do not.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
};

use crate::datapath::{
    Error, Hook, PinDir, Tc,
    attach::bpf_link::Link,
    object::programs::{Kind, Programs},
    pins,
};

/// A program on a hook.
#[derive(Debug)]
pub(in crate::datapath) struct Held {
    /// What keeps it there; `None` for a filter, which keeps itself.
    pub(in crate::datapath) link: Option<Link>,
    /// Which of our programs it is.
    pub(in crate::datapath) kind: Kind,
    /// The number of the program.
    pub(in crate::datapath) program: u32,
}

impl Held {
    /// A program of ours that was attached just now.
    pub(in crate::datapath) fn of(
        programs: &mut Programs,
        kind: Kind,
        link: Option<Link>,
    ) -> Result<Self, Error> {
        Ok(Self {
            link,
            kind,
            program: programs.id(kind)?,
        })
    }

    /// How the program is on a tc hook.
    pub(in crate::datapath) const fn tc(&self) -> Tc {
        if self.link.is_some() {
            Tc::Tcx
        } else {
            Tc::Clsact
        }
    }

    /// Pins the link, if it is one, so that it outlives this process.
    pub(in crate::datapath) fn pin(
        &self,
        pins: &PinDir,
        hook: Hook,
        interface: u32,
    ) -> Result<(), Error> {
        match &self.link {
            Some(link) => pins::pin_object(link.as_fd(), &pins.link(hook, interface)),
            None => Ok(()),
        }
    }
}

/// What is held of one interface.
#[derive(Debug)]
pub(in crate::datapath) struct Holds {
    /// The name under which it is to be guarded.
    pub(in crate::datapath) asked_as: String,
    /// What judges; `None` where somebody else attaches that.
    pub(in crate::datapath) ingress: Option<Held>,
    /// What notes requests; `None` where they are not tracked.
    pub(in crate::datapath) egress: Option<Held>,
}

impl Holds {
    pub(in crate::datapath) const fn on_mut(&mut self, hook: Hook) -> Option<&mut Held> {
        match hook {
            Hook::Ingress => self.ingress.as_mut(),
            Hook::Egress => self.egress.as_mut(),
        }
    }

    pub(in crate::datapath) const fn on(&self, hook: Hook) -> Option<&Held> {
        match hook {
            Hook::Ingress => self.ingress.as_ref(),
            Hook::Egress => self.egress.as_ref(),
        }
    }
}

/// An object, and where below the pin directory it is pinned.
#[derive(Debug)]
pub(in crate::datapath) struct Pinned {
    pub(in crate::datapath) path: PathBuf,
    pub(in crate::datapath) object: OwnedFd,
}
