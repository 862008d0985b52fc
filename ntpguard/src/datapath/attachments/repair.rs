//! Repairing what differs, by a guard that runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd as _, BorrowedFd},
    path::PathBuf,
    time::Instant,
};

use ntpguard_common::maps::tables::names;

use super::{
    difference::{Difference, PinLoss, Repairable},
    patience::{Decision, Patience},
    pinned,
};
use crate::datapath::{
    Attached, Error, Guard, Hook, Lock, PinDir,
    attach::{ingress::Place, tc},
    guard::held::Held,
};

/// What a guard remembers of its repairs.
#[derive(Debug, Default)]
pub(in crate::datapath) struct Upkeep {
    pub(in crate::datapath) patience: Patience,
    /// What differed at the last look.
    pub(in crate::datapath) known: BTreeSet<Difference>,
    /// Why a thing could not be repaired.
    pub(in crate::datapath) failures: BTreeMap<Repairable, String>,
    /// Why the attachments could not be looked at.
    pub(in crate::datapath) trouble: Option<String>,
    /// The lock on a pin directory that was made again.
    pub(in crate::datapath) lock: Option<Lock>,
    /// Whether another process is taking over, and changes what is attached and pinned.
    pub(in crate::datapath) is_yielding: bool,
}

impl Guard {
    /// Repairs what can be repaired now, and says what it was and why.
    pub(in crate::datapath) fn repair(&mut self, found: &BTreeSet<Difference>, now: Instant) {
        let unfit = self.missing.iter().filter(|one| one.trouble.is_some());
        let unfit = unfit.map(|one| Repairable::Interface(one.interface.name.clone()));
        let differing = found.iter().filter_map(Difference::repairable).chain(unfit);
        let differing: BTreeSet<Repairable> = differing.collect();
        for thing in self.upkeep.patience.well(&differing, now) {
            tracing::info!("{} again", self.described(&thing));
        }
        let failures = &mut self.upkeep.failures;
        failures.retain(|thing, _| differing.contains(thing));
        let mut repairable: Vec<_> = found
            .iter()
            .filter_map(|difference| Some((difference.repairable()?, difference)))
            .collect();
        // Pins first, as links are pinned among them, and requests are to be noted before replies are
        // judged.
        repairable.sort_by_key(|(thing, _)| match thing {
            Repairable::Pins => 0,
            Repairable::Hook(_, Hook::Egress) => 1,
            _ => 2,
        });
        for (thing, difference) in repairable {
            match self.upkeep.patience.decide(&thing, now) {
                Decision::Repair => self.try_repair(thing, difference, now),
                Decision::GiveUp => tracing::error!(
                    "{difference}: repaired three times within ten minutes, not repairing it any \
                     more; {}",
                    difference.cure()
                ),
                Decision::Wait | Decision::Leave => {}
            }
        }
    }

    fn try_repair(&mut self, thing: Repairable, difference: &Difference, now: Instant) {
        let repaired = match &thing {
            Repairable::Hook(index, hook) => self.attach_again(*index, *hook),
            Repairable::Pins => self.pin_again(),
            Repairable::Interface(_) => return,
        };
        match repaired {
            Ok(how) => {
                tracing::warn!("repaired: {difference}; {how} again");
                self.upkeep.failures.remove(&thing);
                self.upkeep.patience.repaired(thing, now);
            }
            Err(error) => {
                let why = error.to_string();
                if self.upkeep.failures.get(&thing) != Some(&why) {
                    tracing::error!("{difference}; cannot repair it: {why}");
                }
                self.upkeep.failures.insert(thing.clone(), why);
                self.upkeep.patience.failed(thing, now);
            }
        }
    }

    /// Puts a program on its hook again; says how.
    fn attach_again(&mut self, index: u32, hook: Hook) -> Result<String, Error> {
        let Some(place) = self.place_of(index) else {
            return Err(Error::NoInterface(index.to_string()));
        };
        let interface = self.attached[place].interface.clone();
        let programs = self.programs.of(interface.link)?;
        let Some(holds) = self.held.get_mut(&index) else {
            return Err(Error::NoInterface(interface.name));
        };
        let old = match hook {
            Hook::Ingress => &mut holds.ingress,
            Hook::Egress => &mut holds.egress,
        };
        if let Some(held) = old
            && let Some(link) = &held.link
            && link.info().is_ok_and(|info| info.interface == index)
        {
            let failed = |source| Error::system(format!("attach to {}", interface.name), source);
            link.swap(programs.fd(held.kind)?).map_err(failed)?;
            held.program = programs.id(held.kind)?;
            return Ok("the guard's program is on the link".to_owned());
        }
        let (new, how) = match hook {
            Hook::Egress => {
                let held = tc::occupy(programs, hook, &interface, &self.pins)?;
                let how = format!("attached by {}", held.tc().name());
                self.attached[place].egress = Some(held.tc());
                (Some(held), how)
            }
            Hook::Ingress => {
                let mode = self.options.attach;
                let free = Place::look(&self.pins, &interface, mode)?;
                let (attached, held) = free.occupy(programs, &self.pins, mode)?;
                let how = format!("attached by {}", attached.how);
                let Attached { egress, .. } = self.attached[place];
                self.attached[place] = Attached { egress, ..attached };
                (held, how)
            }
        };
        *old = new;
        if let Some(held) = old {
            pin(held, &self.pins, hook, index);
        }
        Ok(how)
    }

    fn pin_again(&mut self) -> Result<String, Error> {
        let restored = self.anchor.restore(&self.pins, &self.objects()?)?;
        let lock = self.anchor.take(restored);
        if lock.is_some() {
            self.upkeep.lock = lock;
        }
        self.reach = pinned::reach(self.pins.path());
        Ok("pinned".to_owned())
    }

    /// The lock on a pin directory that was made again since the last call: the one before is of a
    /// directory that is gone.
    pub const fn take_new_lock(&mut self) -> Option<Lock> {
        self.upkeep.lock.take()
    }

    /// Has the guard expect another process to change it, until it is resumed or this is taken back.
    pub const fn set_yielding(&mut self, is_yielding: bool) {
        self.upkeep.is_yielding = is_yielding;
    }

    /// Everything that should be pinned, and where.
    pub(in crate::datapath) fn objects(&self) -> Result<Vec<(PathBuf, BorrowedFd<'_>)>, Error> {
        let mut objects = self.maps()?;
        let programs = self.anchor.programs.iter();
        objects.extend(programs.map(|pinned| (pinned.path.clone(), pinned.object.as_fd())));
        for (index, holds) in &self.held {
            for hook in [Hook::Ingress, Hook::Egress] {
                let link = holds.on(hook).and_then(|held| held.link.as_ref());
                objects.extend(link.map(|link| (self.pins.link(hook, *index), link.as_fd())));
            }
        }
        Ok(objects)
    }

    /// The maps, and where they should be pinned.
    pub(in crate::datapath) fn maps(&self) -> Result<Vec<(PathBuf, BorrowedFd<'_>)>, Error> {
        let maps = names::ALL.iter().map(|name| {
            let map = self.programs.map(name)?;
            Ok((self.pins.maps().join(name), map))
        });
        maps.collect()
    }

    /// A thing that is well, for people.
    fn described(&self, thing: &Repairable) -> String {
        match thing {
            Repairable::Hook(index, hook) => {
                let place = self.place_of(*index);
                let name = place.map(|place| self.attached[place].interface.name.clone());
                let name = name.unwrap_or_else(|| format!("interface {index}"));
                format!("the {} program is attached to {name}", hook.name())
            }
            Repairable::Pins => format!("the pins below {} are there", self.pins.path().display()),
            Repairable::Interface(name) => format!("{name} is guarded"),
        }
    }

    pub(in crate::datapath) fn place_of(&self, index: u32) -> Option<usize> {
        let mut attached = self.attached.iter();
        attached.position(|attached| attached.interface.index == index)
    }

    /// Logs what an administrator must decide, when it is new and when it is over.
    pub(in crate::datapath) fn report(&mut self, found: BTreeSet<Difference>) {
        for difference in found.difference(&self.upkeep.known) {
            if difference.repairable().is_none() {
                tracing::warn!("{difference}; {}", difference.cure());
            }
        }
        for difference in self.upkeep.known.difference(&found) {
            if difference.repairable().is_none() && !is_superseded(difference, &found) {
                tracing::info!("resolved: {difference}");
            }
        }
        self.upkeep.known = found;
    }
}

/// Pins a link that guards already: where that fails, it guards while this process lives, and the pins are
/// a difference of their own.
pub(in crate::datapath) fn pin(held: &Held, pins: &PinDir, hook: Hook, index: u32) {
    if let Err(error) = held.pin(pins, hook, index) {
        tracing::warn!("{error}");
    }
}

/// Whether a loss of pins has become another.
fn is_superseded(difference: &Difference, found: &BTreeSet<Difference>) -> bool {
    matches!(difference, Difference::Pins(PinLoss::Unmounted { .. }))
        && found
            .iter()
            .any(|other| matches!(other, Difference::Pins(_)))
}
