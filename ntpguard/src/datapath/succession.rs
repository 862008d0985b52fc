//! One process after another in charge of a guard: what can be known before the next one begins, and
//! what the one before does where the next one fails.

use ntpguard_common::{packet::Link, rates::Rates};

use super::{
    Error, Guard, Options, PinDir,
    attachments::Upkeep,
    guard::random_key,
    loaded::{Fixed, Loaded},
    mend::Occasion,
    object::Loader,
};
use crate::{allowlist::projection::Projection, senders::Found};

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
        // An interface that has gone meanwhile is not to keep the others from it.
        self.mend(Occasion::Change);
        let options = Options {
            interfaces: self.interfaces(),
            senders: senders.clone(),
            ..self.options.clone()
        };
        let taken = Self::start(&options, granted)?;
        let missing = std::mem::take(&mut self.missing);
        let options = self.options.clone();
        let upkeep = Upkeep {
            is_yielding: false,
            ..std::mem::take(&mut self.upkeep)
        };
        *self = Self {
            missing,
            options,
            upkeep,
            ..taken
        };
        Ok(())
    }
}
