//! The programs in use.

use std::{os::fd::BorrowedFd, path::Path};

use aya::Ebpf;
use ntpguard_common::{maps::rates::Rates, wire::packet::Link};

use super::held::{Holds, Pinned};
use crate::datapath::{
    AttachPoint, Error, Options, PinDir, Settings,
    object::{
        loader::Loader,
        programs::{Kind, Programs},
    },
    pins::Hook,
};

/// What is fixed in all programs beside the options.
#[derive(Clone, Copy, Debug)]
pub(in crate::datapath) struct Fixed {
    /// The limits for clients.
    pub(in crate::datapath) rates: Rates,
    /// Whether servers may be asked at other ports than 123.
    pub(in crate::datapath) other_ports: bool,
}

/// The programs in use, an object for each link type: the link type is a constant in it.
#[derive(Debug)]
pub(in crate::datapath) struct Loaded {
    pub(in crate::datapath) fixed: Fixed,
    programs: Vec<(Link, Programs)>,
}

impl Loaded {
    /// Loads, over the maps pinned in `maps`, the programs that interfaces of these link types need.
    pub(in crate::datapath) fn over(
        maps: &Path,
        loader: &mut Loader<'_>,
        fixed: Fixed,
        options: &Options,
        links: &[Link],
    ) -> Result<Self, Error> {
        Self::from_objects(fixed, options, links, |settings| {
            loader.load_over(settings, maps)
        })
    }

    /// The same over maps of their own, attached to nothing.
    pub(in crate::datapath) fn apart(
        loader: &mut Loader<'_>,
        fixed: Fixed,
        options: &Options,
        links: &[Link],
    ) -> Result<Self, Error> {
        Self::from_objects(fixed, options, links, |settings| loader.load(settings))
    }

    fn from_objects(
        fixed: Fixed,
        options: &Options,
        links: &[Link],
        mut load: impl FnMut(Settings) -> Result<Ebpf, Error>,
    ) -> Result<Self, Error> {
        let mut loaded = Self {
            fixed,
            programs: Vec::new(),
        };
        for link in [Link::Ethernet, Link::RawIp] {
            if links.contains(&link) {
                loaded.add(link, load(options.settings(link, &fixed))?, options)?;
            }
        }
        Ok(loaded)
    }

    /// Loads the programs of an object that are needed for sure, so that a refusal comes before
    /// anything is attached.
    pub(in crate::datapath) fn add(
        &mut self,
        link: Link,
        object: Ebpf,
        options: &Options,
    ) -> Result<(), Error> {
        let mut programs = Programs::new(object);
        match options.attach.best() {
            AttachPoint::Native | AttachPoint::Generic => programs.load_xdp()?,
            AttachPoint::Tc => drop(programs.get(Kind::TcIngress)?),
            AttachPoint::External => {}
        }
        if options.tracking.track {
            programs.get(Kind::TcEgress)?;
        }
        self.programs.push((link, programs));
        Ok(())
    }

    /// A map that all programs share, by descriptor.
    pub(in crate::datapath) fn map(&self, name: &str) -> Result<BorrowedFd<'_>, Error> {
        let mut programs = self.programs.iter();
        let map = programs.find_map(|(_, programs)| programs.map(name));
        map.ok_or_else(|| Error::Missing(format!("map {name}")))
    }

    pub(in crate::datapath) fn of(&mut self, wanted: Link) -> Result<&mut Programs, Error> {
        self.programs
            .iter_mut()
            .find_map(|(link, programs)| (*link == wanted).then_some(programs))
            .ok_or_else(|| Error::Missing(format!("program for {wanted:?} links")))
    }

    /// The programs to be pinned: of each link type, those that the first interface uses.
    pub(in crate::datapath) fn used<'a>(
        &mut self,
        pins: &PinDir,
        used: impl Iterator<Item = (Link, &'a Holds)>,
    ) -> Result<Vec<Pinned>, Error> {
        let used: Vec<_> = used.collect();
        let mut to_pin = Vec::new();
        for link in [Link::Ethernet, Link::RawIp] {
            let Some((_, holds)) = used.iter().find(|(other, _)| *other == link) else {
                continue;
            };
            for hook in [Hook::Ingress, Hook::Egress] {
                if let Some(held) = holds.on(hook) {
                    let object = self.of(link)?.fd(held.kind)?.try_clone_to_owned();
                    to_pin.push(Pinned {
                        path: pins.program(hook, link),
                        object: object.map_err(|source| {
                            Error::system("hold a program by another descriptor", source)
                        })?,
                    });
                }
            }
        }
        Ok(to_pin)
    }
}
