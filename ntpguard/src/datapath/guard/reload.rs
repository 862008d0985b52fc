//! Programs for what is granted: those that look at other ports, only while anybody is asked there.

use nix::libc::ENOLINK;
use ntpguard_common::wire::packet::Link;

use super::loaded::{Fixed, Loaded};
use crate::{
    allowlist::projection::Projection,
    datapath::{Error, Guard, Hook, attach::clsact, object::loader::Loader, pins},
};

impl Guard {
    /// Swaps the programs where the others are needed for what is granted now. Where this fails, each
    /// interface has one or the other, and the next call goes on.
    pub fn reload_if_needed(&mut self, granted: &Projection) -> Result<(), Error> {
        let other_ports = !granted.endpoints.is_empty();
        if self.programs.fixed.other_ports == other_ports {
            return Ok(());
        }
        let fixed = Fixed {
            other_ports,
            ..self.programs.fixed
        };
        let mut loader = Loader::new(&fixed.rates);
        let links: Vec<Link> = self.attached.iter().map(|one| one.interface.link).collect();
        let maps = self.anchor.dir_of(&self.pins, &self.maps()?)?;
        let mut programs = Loaded::over(&maps, &mut loader, fixed, &self.options, &links)?;
        // First where packets leave: a reply is not to be dropped because nobody saw its request.
        for hook in [Hook::Egress, Hook::Ingress] {
            self.swap(hook, &mut programs)?;
        }
        let used = self.attached.iter().filter_map(|attached| {
            let holds = self.held.get(&attached.interface.index)?;
            Some((attached.interface.link, holds))
        });
        let to_pin = programs.used(&self.pins, used)?;
        // Where that fails, the pins are not those that are held, and are made again later.
        if let Err(error) = pins::pin_programs(&self.pins, &to_pin) {
            tracing::warn!("{error}");
        }
        self.anchor.programs = to_pin;
        self.programs = programs;
        Ok(())
    }

    /// Puts other programs on one hook of each interface.
    fn swap(&mut self, hook: Hook, programs: &mut Loaded) -> Result<(), Error> {
        for attached in &self.attached {
            let interface = &attached.interface;
            let holds = self.held.get_mut(&interface.index);
            let Some(held) = holds.and_then(|holds| holds.on_mut(hook)) else {
                continue;
            };
            let programs = programs.of(interface.link)?;
            let kind = held.kind;
            match &held.link {
                Some(link) => match link.swap(programs.fd(kind)?) {
                    // It is detached, and attached again with the new program.
                    Err(error) if error.raw_os_error() == Some(ENOLINK) => {}
                    swapped => swapped.map_err(|source| {
                        let name = &interface.name;
                        Error::system(
                            format!("swap the {} program of {name}", hook.name()),
                            source,
                        )
                    })?,
                },
                None => {
                    if let Some(old) = clsact::find(hook, interface.index)? {
                        let program = programs.fd(kind)?;
                        clsact::put(program, hook, interface.index, Some(&old))?;
                    }
                }
            }
            held.program = programs.id(kind)?;
        }
        Ok(())
    }
}
