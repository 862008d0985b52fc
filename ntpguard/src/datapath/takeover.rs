//! Programs put on interfaces, in the place of those that are there: first where packets leave, then where
//! they arrive.

use super::{
    Attached, Error, Interface, Options, PinDir,
    held::{Held, Holds},
    loaded::Loaded,
    pins::Hook,
    place::Place,
    stops::{self, Stop},
    tc,
};

/// What came of it: an interface that is guarded, and what is held of it.
pub(super) type Taken = (Attached, Holds);

/// Puts the programs on all these interfaces, and pins their links. Where this fails or is stopped, each
/// interface has its old program or the new one, and another call goes on.
pub(super) fn take_over(
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
        stops::here(Stop::EgressAttached);
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
        stops::here(Stop::Attached);
    }
    stops::here(Stop::AllAttached);
    Ok(taken)
}

/// Has the requests that leave by an interface noted, if they are to be; a new link is not pinned yet. Before anything needs
/// them: a reply is not to be dropped because nobody saw its request.
pub(super) fn note_requests(
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
