//! Interfaces that go and come back while they are guarded.

use super::{
    Attached, Error, Guard, How, Interface,
    guard::interfaces,
    netlink,
    object::Loader,
    pins::Hook,
    place::{Holder, Place},
    stack,
    takeover::note_requests,
    tc,
};

/// An interface that is to be guarded and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// As it was.
    pub interface: Interface,
    /// Why it is not guarded although it is there; `None` where it is gone.
    pub trouble: Option<String>,
}

impl Guard {
    /// Lets go of interfaces that are gone, and guards those that have come back. One that cannot be
    /// guarded stays among the missing, with the reason.
    pub fn mend(&mut self) -> Result<(), Error> {
        let gone = self.gone()?;
        for index in &gone {
            for hook in [Hook::Ingress, Hook::Egress] {
                tc::vacate(&self.pins, hook, *index)?;
            }
        }
        let is_gone = |attached: &mut Attached| gone.contains(&attached.interface.index);
        for Attached { interface, .. } in self.attached.extract_if(.., is_gone) {
            tracing::warn!(
                "{} is gone; it is guarded again when it comes back",
                interface.name
            );
            self.missing.push(Missing {
                interface,
                trouble: None,
            });
        }
        let returned = self.take_back();
        if !gone.is_empty() || returned {
            self.write_interfaces(None)?;
        }
        Ok(())
    }

    /// The guarded interfaces on which no program of ours is any more, by index. The names of the
    /// others are brought up to date.
    fn gone(&mut self) -> Result<Vec<u32>, Error> {
        let mut gone = Vec::new();
        for attached in &mut self.attached {
            let index = attached.interface.index;
            let message = netlink::ask(index)?;
            let holds = match attached.how {
                How::External => message.is_some(),
                _ => Holder::of(&self.pins, index, message.as_ref())?
                    .how()
                    .is_some(),
            };
            if !holds {
                gone.push(index);
            } else if let Some(name) = message.as_ref().and_then(netlink::name)
                && name != attached.interface.name
            {
                tracing::info!("{} is called {name} now", attached.interface.name);
                name.clone_into(&mut attached.interface.name);
            }
        }
        Ok(gone)
    }

    /// Guards those of the missing interfaces that are there; says whether there was one.
    fn take_back(&mut self) -> bool {
        let mut returned = false;
        for mut missing in std::mem::take(&mut self.missing) {
            match self.guard_again(&missing.interface.name) {
                Ok(attached) => {
                    tracing::info!("{} is back: {}", attached.interface.name, attached.how);
                    self.attached.push(attached);
                    returned = true;
                }
                Err(Error::NoInterface(_)) => {
                    missing.trouble = None;
                    self.missing.push(missing);
                }
                Err(error) => {
                    let trouble = error.to_string();
                    if missing.trouble.as_ref() != Some(&trouble) {
                        tracing::error!(
                            "{} is back and not guarded: {trouble}",
                            missing.interface.name
                        );
                    }
                    missing.trouble = Some(trouble);
                    self.missing.push(missing);
                }
            }
        }
        returned
    }

    fn guard_again(&mut self, name: &str) -> Result<Attached, Error> {
        let interface = find(name)?;
        let mut together = self.interfaces();
        together.push(interface.clone());
        netlink::blocking(stack::ensure_apart(&together))?;
        let place = Place::look(&self.pins, &interface, self.options.attach)?;
        // Before anything is attached: where it is a filter, nothing else tells of it.
        self.write_interfaces(Some(interface.index))?;
        self.load_for(&interface)?;
        let (options, pins) = (&self.options, &self.pins);
        let egress = note_requests(options, pins, &mut self.programs, &interface)?;
        let programs = self.programs.of(interface.link)?;
        let (attached, _) = place
            .occupy(programs, pins, options.attach)
            .inspect_err(|_| {
                if let Err(error) = tc::vacate(pins, Hook::Egress, interface.index) {
                    tracing::warn!("after {name} could not be guarded: {error}");
                }
            })?;
        Ok(Attached { egress, ..attached })
    }

    /// Loads the programs for an interface whose kind of link none had before.
    fn load_for(&mut self, interface: &Interface) -> Result<(), Error> {
        if self.programs.of(interface.link).is_ok() {
            return Ok(());
        }
        let fixed = self.programs.fixed;
        let settings = self.options.settings(interface.link, &fixed);
        let object = Loader::new(&fixed.rates).load_over(settings, &self.pins.maps())?;
        self.programs.add(interface.link, object, &self.options)
    }

    pub(super) fn interfaces(&self) -> Vec<Interface> {
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
