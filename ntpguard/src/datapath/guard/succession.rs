//! One process after another in charge of a guard: what can be known before the next one begins, and
//! what the one before does where the next one fails.

use std::collections::BTreeMap;

use ntpguard_common::{maps::rates::Rates, wire::packet::Link};

use super::loaded::{Fixed, Loaded};
use crate::{
    allowlist::projection::Projection,
    datapath::{
        Error, Guard, Missing, Options, PinDir,
        interface::netlink,
        object::{loader::Loader, settings::random_key},
    },
    trust::Found,
};

impl Options {
    /// Checks whether the interfaces can be guarded so, and changes nothing.
    pub fn check(&self) -> Result<(), Error> {
        let pins = PinDir::new(&self.pin_dir);
        pins.require()?;
        self.places(&pins).map(drop)
    }

    /// Has the kernel check the programs, over maps of their own that end with this.
    pub fn check_programs(&self) -> Result<(), Error> {
        let fixed = Fixed {
            rates: Rates::per_second(self.client_rate, self.total_rate, random_key()?),
            other_ports: true,
        };
        let links: Vec<Link> = self.interfaces.iter().map(|of| of.link).collect();
        Loaded::apart(&mut Loader::new(&fixed.rates), fixed, self, &links).map(drop)
    }
}

impl Guard {
    /// Guards as before, whatever another process has done that was to take over and failed.
    ///
    /// The lock on the pin directory must be held, and the other process must have ended.
    pub fn resume(&mut self, senders: &Found, granted: &Projection) -> Result<(), Error> {
        // An interface that has gone meanwhile is not to keep the others from it. To look for what else
        // differs would find all that the other process has done.
        let (mut here, mut gone) = (Vec::new(), Vec::new());
        // One that was renamed is still to be guarded by the name that it was asked for by.
        let asked_as: BTreeMap<u32, String> = self
            .held
            .iter()
            .map(|(index, holds)| (*index, holds.asked_as.clone()))
            .collect();
        for attached in &self.attached {
            let mut interface = attached.interface.clone();
            if netlink::ask(interface.index)?.is_some() {
                here.push(interface);
            } else {
                if let Some(name) = asked_as.get(&interface.index) {
                    interface.name.clone_from(name);
                }
                gone.push(Missing {
                    interface,
                    trouble: None,
                });
            }
        }
        let options = Options {
            interfaces: here,
            senders: senders.clone(),
            ..self.options.clone()
        };
        let mut taken = Self::start(&options, granted)?;
        for (index, name) in asked_as {
            if let Some(holds) = taken.held.get_mut(&index) {
                holds.asked_as = name;
            }
        }
        let missing = std::mem::take(&mut self.missing);
        let mut upkeep = std::mem::take(&mut self.upkeep);
        upkeep.is_yielding = false;
        *self = Self {
            missing: missing.into_iter().chain(gone).collect(),
            options: self.options.clone(),
            upkeep,
            ..taken
        };
        Ok(())
    }
}
