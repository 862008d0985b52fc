//! Programs put on interfaces, in the place of those that are there: first where packets leave, then where
//! they arrive.

use super::{
    Attached, Error, Interface, Options, PinDir, Tc,
    loaded::Loaded,
    pins::Hook,
    place::Place,
    stops::{self, Stop},
    tc,
};

/// Puts the programs on all these interfaces, and pins them. Where this fails or is stopped, each
/// interface has its old program or the new one, and another call goes on.
pub(super) fn take_over(
    options: &Options,
    pins: &PinDir,
    programs: &mut Loaded,
    places: Vec<Place>,
) -> Result<Vec<Attached>, Error> {
    let mut egress = Vec::new();
    for place in &places {
        egress.push(note_requests(options, pins, programs, &place.interface)?);
        stops::here(Stop::EgressAttached);
    }
    let mut attached = Vec::new();
    let mut used = Vec::new();
    for (place, egress) in places.into_iter().zip(egress) {
        let link = place.interface.link;
        let (interface, kind) = place.occupy(programs.of(link)?, pins, options.attach)?;
        attached.push(Attached {
            egress,
            ..interface
        });
        used.push((link, kind));
        stops::here(Stop::Attached);
    }
    stops::here(Stop::AllAttached);
    programs.pin(pins, &used, options.tracking.track)?;
    stops::here(Stop::ProgramsPinned);
    Ok(attached)
}

/// Has the requests that leave by an interface noted, if they are to be. Before anything needs
/// them: a reply is not to be dropped because nobody saw its request.
pub(super) fn note_requests(
    options: &Options,
    pins: &PinDir,
    programs: &mut Loaded,
    interface: &Interface,
) -> Result<Option<Tc>, Error> {
    if !options.tracking.track {
        return Ok(None);
    }
    let programs = programs.of(interface.link)?;
    tc::occupy(programs, Hook::Egress, interface, pins).map(Some)
}
