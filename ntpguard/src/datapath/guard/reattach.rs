//! Keeping a guard as it is to be: attached on every interface that is there, and pinned.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    held::{Held, Holds},
    takeover::note_requests,
};
use crate::datapath::{
    AttachPoint, Attached, Error, Guard, Hook, Interface,
    attach::{ingress::Place, tc},
    attachments::{
        Difference, Expected, Finding, Look, Looked, NOT_ATTACHED_BY_OTHERS, Observed, Outlook,
        Program, Repairable, Wanted, compare,
        kernel::{self, Answer, Question, State},
        patience::Decision,
        pin, pinned,
    },
    interface::{netlink, stacking},
    maps::info::interfaces,
    object::loader::Loader,
    pins,
};

/// An interface that is to be guarded and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// As it was, under the name by which it is to be guarded.
    pub interface: Interface,
    /// Why it is not guarded although it is there; `None` where it is gone.
    pub trouble: Option<String>,
}

/// Why a guard looks after itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Some seconds have passed.
    Tick,
    /// An interface came, went or changed.
    Change,
}

impl Guard {
    /// Compares what should be attached and pinned with what the kernel says, lets go of interfaces that
    /// are gone, guards those that are back, and repairs what can be repaired. What cannot stays known,
    /// with the reason.
    pub fn reattach(&mut self, occasion: Occasion) {
        let outcome = self.try_to_reattach(occasion, Instant::now());
        let trouble = outcome.err().map(|error| error.to_string());
        if let Some(trouble) = trouble.as_ref().filter(|_| trouble != self.upkeep.trouble) {
            tracing::error!("cannot inspect attachments: {trouble}");
        }
        self.upkeep.trouble = trouble;
    }

    fn try_to_reattach(&mut self, occasion: Occasion, now: Instant) -> Result<(), Error> {
        // Changes come in crowds, and to ask for all interfaces of a hypervisor takes a while.
        let is_change = occasion == Occasion::Change;
        let all = self.devices_are_stale && !is_change;
        self.devices_are_stale |= is_change;
        let answer = kernel::ask(&self.question(all))?;
        if all {
            self.devices = answer.devices();
            self.devices_are_stale = false;
        }
        let observed = self.observe(&answer)?;
        self.follow_names(&answer);
        let is_gone = self.let_go_of_the_gone(&answer, &observed.hooks);
        let is_back = self.take_back(&answer, occasion, now);
        if is_gone || is_back {
            self.write_interfaces(None)?;
        }
        let found = compare(&self.expected(), &observed);
        self.repair(&found, now);
        self.report(found);
        Ok(())
    }

    /// Looks at what is attached and pinned now, and changes nothing.
    pub fn look(&self) -> Result<Look, Error> {
        let answer = kernel::ask(&self.question(true))?;
        let observed = Observed {
            reach: pinned::reach(self.pins.path()),
            devices: answer.devices(),
            ..self.observe(&answer)?
        };
        let found = compare(&self.expected(), &observed);
        let interfaces = self
            .attached
            .iter()
            .map(|attached| self.looked(attached, &found));
        let interfaces = interfaces.collect();
        let findings = found.iter().map(|difference| self.finding(difference));
        Ok(Look {
            interfaces,
            findings: findings.collect(),
        })
    }

    /// What was attached when that was last changed, where nothing can be looked at.
    pub fn last_look(&self) -> Look {
        let nothing = BTreeSet::new();
        let interfaces = self.attached.iter();
        let interfaces = interfaces.map(|attached| self.looked(attached, &nothing));
        Look {
            interfaces: interfaces.collect(),
            findings: Vec::new(),
        }
    }

    fn looked(&self, attached: &Attached, found: &BTreeSet<Difference>) -> Looked {
        let why = |wanted: Hook| {
            let mut why = found
                .iter()
                .filter(|one| one.is_of(attached.interface.index, wanted));
            why.next().map(ToString::to_string)
        };
        let nobody_attached = || {
            let is_attached = attached.how != AttachPoint::External || self.judges(attached);
            (!is_attached).then(|| NOT_ATTACHED_BY_OTHERS.to_owned())
        };
        let why_untracked = why(Hook::Egress);
        Looked {
            attached: attached.clone(),
            why_open: why(Hook::Ingress).or_else(nobody_attached),
            egress: attached.egress.filter(|_| why_untracked.is_none()),
            why_untracked,
        }
    }

    fn finding(&self, difference: &Difference) -> Finding {
        let outlook = match difference.repairable() {
            None => Outlook::Stays,
            Some(thing) if self.upkeep.patience.leaves(&thing) => Outlook::Left,
            Some(thing) => match self.upkeep.failures.get(&thing) {
                Some(why) => Outlook::Failed(why.clone()),
                None => Outlook::Repaired,
            },
        };
        Finding {
            difference: difference.clone(),
            outlook,
        }
    }

    /// What should be.
    fn expected(&self) -> Expected<'_> {
        let program =
            |held: Option<&Held>| held.map_or(Program::Nothing, |held| Program::This(held.program));
        let interfaces = self.attached.iter().map(|attached| {
            let holds = self.held.get(&attached.interface.index);
            let on = |hook| program(holds.and_then(|holds| holds.on(hook)));
            Wanted {
                index: attached.interface.index,
                name: attached.interface.name.clone(),
                asked_as: holds.map(|holds| holds.asked_as.clone()),
                ingress: on(Hook::Ingress),
                egress: on(Hook::Egress),
            }
        });
        Expected {
            pins: &self.pins,
            interfaces: interfaces.collect(),
        }
    }

    fn question(&self, all: bool) -> Question {
        let filters = self.held.iter().flat_map(|(index, holds)| {
            [Hook::Ingress, Hook::Egress]
                .into_iter()
                .filter(|hook| holds.on(*hook).is_some_and(|held| held.link.is_none()))
                .map(|hook| (*index, hook))
        });
        Question {
            indices: self.held.keys().copied().collect(),
            names: self.unguarded_names().map(str::to_owned).collect(),
            filters: filters.collect(),
            all,
        }
    }

    /// The names in the configuration that no guarded interface has now.
    fn unguarded_names(&self) -> impl Iterator<Item = &str> {
        let wanted = self.options.interfaces.iter().map(|one| one.name.as_str());
        wanted.filter(|name| !self.attached.iter().any(|one| one.interface.name == *name))
    }

    fn observe(&self, answer: &Answer) -> Result<Observed, Error> {
        let mut hooks = BTreeMap::new();
        for (index, holds) in &self.held {
            for hook in [Hook::Ingress, Hook::Egress] {
                if let Some(held) = holds.on(hook) {
                    hooks.insert((*index, hook), answer.held(*index, hook, held)?);
                }
            }
        }
        Ok(Observed {
            hooks,
            pins: if self.upkeep.is_yielding {
                None
            } else {
                self.anchor.loss(&self.pins, &self.objects()?)?
            },
            reach: self.reach,
            devices: self.devices.clone(),
        })
    }

    fn follow_names(&mut self, answer: &Answer) {
        for Attached { interface, .. } in &mut self.attached {
            if let Some(name) = answer.name_of(interface.index)
                && name != interface.name
            {
                tracing::info!("{} was renamed to {name}", interface.name);
                name.clone_into(&mut interface.name);
            }
        }
    }

    /// Lets go of the interfaces that this network namespace does not have any more; says whether there
    /// was one.
    fn let_go_of_the_gone(
        &mut self,
        answer: &Answer,
        hooks: &BTreeMap<(u32, Hook), State>,
    ) -> bool {
        let is_gone = |attached: &mut Attached| {
            let index = attached.interface.index;
            !answer.links.contains_key(&index)
                || hooks.get(&(index, Hook::Ingress)) == Some(&State::Endpoint)
        };
        let gone: Vec<Attached> = self.attached.extract_if(.., is_gone).collect();
        for Attached { mut interface, .. } in gone.iter().cloned() {
            tracing::warn!(
                "{} is gone; it will be guarded again when it returns",
                interface.name
            );
            if let Some(holds) = self.held.remove(&interface.index) {
                self.unpin(interface.index, &holds);
                interface.name = holds.asked_as;
            }
            if !self.held.values().any(|one| one.asked_as == interface.name) {
                self.missing.push(Missing {
                    interface,
                    trouble: None,
                });
            }
        }
        !gone.is_empty()
    }

    /// Removes the pins of links of an interface that is gone, if they are still theirs.
    fn unpin(&self, index: u32, holds: &Holds) {
        use std::os::fd::AsFd as _;

        for hook in [Hook::Ingress, Hook::Egress] {
            let Some(link) = holds.on(hook).and_then(|held| held.link.as_ref()) else {
                continue;
            };
            let path = self.pins.link(hook, index);
            let removed = match pins::names(&path, link.as_fd()) {
                Ok(true) => pins::remove_pin(&path),
                _ => Ok(()),
            };
            if let Err(error) = removed {
                tracing::warn!("{error}");
            }
            // It may be in another network namespace, and nobody waits for its packets to be judged.
            drop(link.detach());
        }
    }

    /// Guards the interfaces that are there under a name in the configuration and are not guarded; says
    /// whether there was one.
    fn take_back(&mut self, answer: &Answer, occasion: Occasion, now: Instant) -> bool {
        let there: Vec<String> = self
            .unguarded_names()
            .filter(|name| {
                let index = answer.index_of(name);
                index.is_some_and(|index| !self.held.contains_key(&index))
            })
            .map(str::to_owned)
            .collect();
        // One that is not there any more has no trouble.
        for missing in &mut self.missing {
            if !there.contains(&missing.interface.name) {
                missing.trouble = None;
            }
        }
        let mut is_back = false;
        for name in there {
            let thing = Repairable::Interface(name.clone());
            let is_due = self.upkeep.patience.decide(&thing, now) == Decision::Repair;
            if !is_due && occasion == Occasion::Tick {
                continue;
            }
            match self.guard_again(&name) {
                Ok(attached) => {
                    tracing::info!("{name} is back: {}", attached.how);
                    self.attached.push(attached);
                    self.missing
                        .retain(|missing| missing.interface.name != name);
                    is_back = true;
                }
                Err(error) => {
                    self.upkeep.patience.failed(thing, now);
                    self.note_missing(&name, &error);
                }
            }
        }
        is_back
    }

    /// Remembers why an interface that is there is not guarded.
    fn note_missing(&mut self, name: &str, error: &Error) {
        let trouble = match error {
            Error::NoInterface(_) => None,
            error => Some(error.to_string()),
        };
        if !self.missing.iter().any(|one| one.interface.name == name) {
            let wanted = self.options.interfaces.iter();
            let wanted = wanted.filter(|wanted| wanted.name == name).cloned();
            self.missing.extend(wanted.map(|interface| Missing {
                interface,
                trouble: None,
            }));
        }
        let mut known = self.missing.iter_mut();
        let Some(missing) = known.find(|one| one.interface.name == name) else {
            return;
        };
        if let Some(trouble) = &trouble
            && missing.trouble.as_ref() != Some(trouble)
        {
            tracing::error!("{name} is back and not guarded: {trouble}");
        }
        missing.trouble = trouble;
    }

    fn guard_again(&mut self, name: &str) -> Result<Attached, Error> {
        let interface = find(name)?;
        let index = interface.index;
        let mut together = self.interfaces();
        together.push(interface.clone());
        if together.len() > ntpguard_common::maps::tables::MAX_INTERFACES {
            return Err(Error::TooManyInterfaces(together.len()));
        }
        netlink::blocking(stacking::ensure_apart(&together))?;
        let place = Place::look(&self.pins, &interface, self.options.attach)?;
        // Before anything is attached: where it is a filter, nothing else tells of it.
        self.write_interfaces(Some(index))?;
        self.load_for(&interface)?;
        let (options, pins) = (&self.options, &self.pins);
        let egress = note_requests(options, pins, &mut self.programs, &interface)?;
        let programs = self.programs.of(interface.link)?;
        let (mut attached, ingress) =
            place
                .occupy(programs, pins, options.attach)
                .inspect_err(|_| {
                    if let Err(error) = tc::vacate(pins, Hook::Egress, index) {
                        tracing::warn!("cannot clean up after failing to guard {name}: {error}");
                    }
                })?;
        attached.egress = egress.as_ref().map(Held::tc);
        for (hook, held) in [(Hook::Egress, &egress), (Hook::Ingress, &ingress)] {
            if let Some(held) = held {
                pin(held, pins, hook, index);
            }
        }
        let holds = Holds {
            asked_as: name.to_owned(),
            ingress,
            egress,
        };
        self.held.insert(index, holds);
        Ok(attached)
    }

    /// Loads the programs for an interface whose kind of link none had before.
    fn load_for(&mut self, interface: &Interface) -> Result<(), Error> {
        if self.programs.of(interface.link).is_ok() {
            return Ok(());
        }
        let fixed = self.programs.fixed;
        let settings = self.options.settings(interface.link, &fixed);
        let maps = self.anchor.dir_of(&self.pins, &self.maps()?)?;
        let object = Loader::new(&fixed.rates).load_over(settings, &maps)?;
        self.programs.add(interface.link, object, &self.options)
    }

    pub(in crate::datapath) fn interfaces(&self) -> Vec<Interface> {
        self.attached
            .iter()
            .map(|attached| attached.interface.clone())
            .collect()
    }

    /// Names the guarded interfaces, and perhaps one that is about to be, in `INFO`.
    fn write_interfaces(&mut self, next: Option<u32>) -> Result<(), Error> {
        let indices = self
            .attached
            .iter()
            .map(|attached| attached.interface.index);
        let mut info = self.tables.info()?;
        info.interfaces = interfaces(indices.chain(next));
        self.tables.set_info(&info)
    }
}

fn find(name: &str) -> Result<Interface, Error> {
    netlink::blocking(async { Interface::by_name(name).await })
}
