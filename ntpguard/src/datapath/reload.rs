//! Programs for what is granted: those that look at other ports, only while anybody is asked there.

use ntpguard_common::packet::Link;

use super::{
    Error, Guard,
    guard::note_requests,
    loaded::{Fixed, Loaded},
    object::Loader,
    place::Place,
};
use crate::allowlist::projection::Projection;

impl Guard {
    /// Swaps the programs where the others are needed for what is granted now: first where packets
    /// leave, then where they arrive, as a start does. Where this fails, each interface has one or the
    /// other, and the next call goes on.
    pub fn suit(&mut self, granted: &Projection) -> Result<(), Error> {
        let other_ports = !granted.elsewhere.is_empty();
        if self.programs.fixed.other_ports == other_ports {
            return Ok(());
        }
        let fixed = Fixed {
            other_ports,
            ..self.programs.fixed
        };
        let (options, pins) = (&self.options, &self.pins);
        let mut loader = Loader::new(&fixed.rates);
        let links = self.attached.iter().map(|attached| attached.interface.link);
        let links: Vec<Link> = links.collect();
        let mut programs = Loaded::over(&pins.maps(), &mut loader, fixed, options, &links)?;
        for attached in &mut self.attached {
            attached.egress = note_requests(options, pins, &mut programs, &attached.interface)?;
        }
        let mut used = Vec::new();
        for attached in &self.attached {
            let interface = &attached.interface;
            let place = Place::look(pins, interface, options.attach)?;
            let (_, kind) = place.occupy(programs.of(interface.link)?, pins, options.attach)?;
            used.push((interface.link, kind));
        }
        programs.pin(pins, &used, options.tracking.track)?;
        self.programs = programs;
        Ok(())
    }
}
