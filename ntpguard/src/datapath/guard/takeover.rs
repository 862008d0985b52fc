//! Programs put on interfaces, in the place of those that are there: first where packets leave, then where
//! they arrive.

use super::{
    failpoint::{self, Failpoint},
    held::{Held, Holds},
    loaded::Loaded,
};
use crate::datapath::{
    Attached, Error, Interface, Options, PinDir,
    attach::{ingress::Place, tc},
    pins::Hook,
};

/// What came of it: an interface that is guarded, and what is held of it.
pub(in crate::datapath) type Taken = (Attached, Holds);

/// Puts the programs on all these interfaces, and pins their links. Where this fails or is stopped, each
/// interface has its old program or the new one, and another call goes on.
pub(in crate::datapath) fn take_over(
    options: &Options,
    pins: &PinDir,
    programs: &mut Loaded,
    places: Vec<Place>,
) -> Result<Vec<Taken>, Error> {
    let mut egress = Vec::new();
    for place in &places {
        let held = note_requests(options, pins, programs, &place.interface)?;
        if let Some(held) = &held {
            held.pin(pins, Hook::Egress, place.interface.index)?;
        }
        egress.push(held);
        failpoint::here(Failpoint::EgressAttached);
    }
    let mut taken = Vec::new();
    for (place, egress) in places.into_iter().zip(egress) {
        let (index, asked_as) = (place.interface.index, place.interface.name.clone());
        let link = place.interface.link;
        let (mut attached, ingress) = place.occupy(programs.of(link)?, pins, options.attach)?;
        if let Some(ingress) = &ingress {
            ingress.pin(pins, Hook::Ingress, index)?;
        }
        attached.egress = egress.as_ref().map(Held::tc);
        let holds = Holds {
            asked_as,
            ingress,
            egress,
        };
        taken.push((attached, holds));
        failpoint::here(Failpoint::Attached);
    }
    failpoint::here(Failpoint::AllAttached);
    Ok(taken)
}

/// Has the requests that leave by an interface noted, if they are to be; a new link is not pinned yet. Before anything needs
/// them: a reply is not to be dropped because nobody saw its request.
pub(in crate::datapath) fn note_requests(
    options: &Options,
    pins: &PinDir,
    programs: &mut Loaded,
    interface: &Interface,
) -> Result<Option<Held>, Error> {
    if !options.tracking.track {
        return Ok(None);
    }
    let programs = programs.of(interface.link)?;
    tc::occupy(programs, Hook::Egress, interface, pins).map(Some)
}
