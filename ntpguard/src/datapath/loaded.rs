//! The programs in use.

use std::path::Path;

use aya::Ebpf;
use ntpguard_common::{packet::Link, rates::Rates};

use super::{
    Error, How, Options, PinDir,
    object::Loader,
    pins::{self, Hook},
    programs::{Kind, Programs},
};

/// What is fixed in all programs beside the options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    /// The limits for clients.
    pub(super) rates: Rates,
    /// Whether servers may be asked at other ports than 123.
    pub(super) other_ports: bool,
}

/// The programs in use, an object for each link type: the link type is a constant in it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) fixed: Fixed,
    programs: Vec<(Link, Programs)>,
}

impl Loaded {
    /// Loads, over the maps pinned in `maps`, the programs that interfaces of these link types need.
    pub(super) fn over(
        maps: &Path,
        loader: &mut Loader<'_>,
        fixed: Fixed,
        options: &Options,
        links: &[Link],
    ) -> Result<Self, Error> {
        let mut loaded = Self {
            fixed,
            programs: Vec::new(),
        };
        for link in [Link::Ethernet, Link::RawIp] {
            if links.contains(&link) {
                let object = loader.load_over(options.settings(link, &fixed), maps)?;
                loaded.add(link, object, options)?;
            }
        }
        Ok(loaded)
    }

    /// The same over maps of their own, attached to nothing.
    pub(super) fn apart(
        loader: &mut Loader<'_>,
        fixed: Fixed,
        options: &Options,
        links: &[Link],
    ) -> Result<Self, Error> {
        let mut loaded = Self {
            fixed,
            programs: Vec::new(),
        };
        for link in [Link::Ethernet, Link::RawIp] {
            if links.contains(&link) {
                let object = loader.load(options.settings(link, &fixed))?;
                loaded.add(link, object, options)?;
            }
        }
        Ok(loaded)
    }

    /// Loads the programs of an object that are needed for sure, so that a refusal comes before
    /// anything is attached.
    pub(super) fn add(&mut self, link: Link, object: Ebpf, options: &Options) -> Result<(), Error> {
        let mut programs = Programs::new(object);
        match options.attach.best() {
            How::Native | How::Generic => programs.load_xdp()?,
            How::Tc => drop(programs.get(Kind::TcIngress)?),
            How::External => {}
        }
        if options.tracking.track {
            programs.get(Kind::TcEgress)?;
        }
        self.programs.push((link, programs));
        Ok(())
    }

    pub(super) fn of(&mut self, wanted: Link) -> Result<&mut Programs, Error> {
        self.programs
            .iter_mut()
            .find_map(|(link, programs)| (*link == wanted).then_some(programs))
            .ok_or_else(|| Error::Missing(format!("program for {wanted:?} links")))
    }

    /// Pins, of each link type, the programs that the first interface uses, and removes the pins of
    /// those that none uses.
    pub(super) fn pin(
        &mut self,
        pins: &PinDir,
        used: &[(Link, Option<Kind>)],
        track: bool,
    ) -> Result<(), Error> {
        for link in [Link::Ethernet, Link::RawIp] {
            let ingress = pins.program(Hook::Ingress, link);
            let egress = pins.program(Hook::Egress, link);
            let first = used.iter().find(|(other, _)| *other == link);
            match first {
                Some((_, Some(kind))) => self.of(link)?.pin(*kind, &ingress)?,
                _ => pins::remove_pin(&ingress)?,
            }
            if track && first.is_some() {
                self.of(link)?.pin(Kind::TcEgress, &egress)?;
            } else {
                pins::remove_pin(&egress)?;
            }
        }
        Ok(())
    }
}
