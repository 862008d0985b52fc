//! Programs for what is granted: those that look at other ports, only while anybody is asked there.

use ntpguard_common::packet::Link;

use super::{
    Error, Guard,
    loaded::{Fixed, Loaded},
    object::Loader,
    place::Place,
    takeover::take_over,
};
use crate::allowlist::projection::Projection;

impl Guard {
    /// Swaps the programs where the others are needed for what is granted now. Where this fails, each
    /// interface has one or the other, and the next call goes on.
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
        let places = self.attached.iter();
        let places = places
            .map(|attached| Place::look(pins, &attached.interface, options.attach))
            .collect::<Result<Vec<_>, _>>()?;
        let attached = take_over(options, pins, &mut programs, places)?;
        for (before, now) in self.attached.iter_mut().zip(attached) {
            before.egress = now.egress;
        }
        self.programs = programs;
        Ok(())
    }
}
