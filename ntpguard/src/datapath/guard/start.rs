//! Starting a guard, or taking over one that is there, so that it may be stopped anywhere.
//!
//! The order: the programs are loaded beside those in force; the tables hold what is wanted; only
//! then is a program attached or swapped, first where packets leave, then where they arrive; what is
//! not needed any more goes last. A process that is killed anywhere in between leaves each interface
//! as it was or as it is to be, and the next start finishes the work.

use std::collections::BTreeMap;

use ntpguard_common::{
    maps::{
        rates::Rates,
        tables::{ABI, Info},
    },
    rule::judge::WARM_UP,
    wire::packet::Link,
};

use super::{
    Guard, Options,
    failpoint::{self, Failpoint},
    held::Holds,
    loaded::{Fixed, Loaded},
    migrate::Maps,
    takeover::take_over,
    unload::unload,
};
use crate::{
    allowlist::projection::Projection,
    clock::{boot_nanoseconds, monotonic_nanoseconds},
    datapath::{
        Attached, Error, PinDir, Tables,
        attach::{ingress::Place, tc},
        attachments::{
            Upkeep,
            pinned::{self, Anchor},
        },
        maps::info::{guarded, interfaces},
        object::{loader::Loader, settings::random_key},
        pins::{self, Hook},
    },
};

impl Guard {
    /// Guards the interfaces with `wanted` in the tables. Links that are pinned already go on
    /// guarding and get the new program in one step; maps that fit are kept with their counters.
    ///
    /// The lock on the pin directory must be held. Where this fails, interfaces that were not
    /// guarded before are not guarded after, and those that were still are.
    pub fn start(options: &Options, wanted: &Projection) -> Result<Self, Error> {
        let pins = PinDir::new(&options.pin_dir);
        let places = options.places(&pins)?;
        let fresh: Vec<u32> = places
            .iter()
            .filter(|place| !place.is_guarded())
            .map(|place| place.interface.index)
            .collect();
        let guarded_before = guards_anything(&pins, &places)?;
        pins.create()?;
        install(options, &pins, places, wanted).inspect_err(|_| undo(&pins, guarded_before, &fresh))
    }
}

/// Loads, fills, attaches, and puts away what is left over, in this order.
fn install(
    options: &Options,
    pins: &PinDir,
    places: Vec<Place>,
    wanted: &Projection,
) -> Result<Guard, Error> {
    let (maps, mut programs) = load(options, pins, !wanted.endpoints.is_empty())?;
    failpoint::here(Failpoint::ProgramsLoaded);

    let mut tables = Tables::open_maps(&maps.dir(pins))?;
    let held = tables.read()?;
    match tables.apply(&held, wanted) {
        // Guarding with what has room is better than not guarding.
        Err(incomplete) if incomplete.is_for_lack_of_room() => tracing::error!("{incomplete}"),
        other => drop(other?),
    }
    tables.set_trusted_cgroups(&options.senders.for_kernel())?;
    tables.set_trusted_uids(&options.uids)?;
    failpoint::here(Failpoint::TablesFilled);
    maps.publish(pins)?;
    failpoint::here(Failpoint::MapsPublished);

    announce(&mut tables, options, pins)?;

    let taken = take_over(options, pins, &mut programs, places)?;
    let used = taken.iter();
    let used = used.map(|(attached, holds)| (attached.interface.link, holds));
    let to_pin = programs.used(pins, used)?;
    pins::pin_programs(pins, &to_pin)?;
    failpoint::here(Failpoint::ProgramsPinned);
    let (attached, holds): (Vec<Attached>, Vec<Holds>) = taken.into_iter().unzip();
    retire(pins, &attached, &tables.info()?)?;
    failpoint::here(Failpoint::LinksRetired);
    let indices = || attached.iter().map(|attached| attached.interface.index);
    let mut info = tables.info()?;
    info.interfaces = interfaces(indices());
    tables.set_info(&info)?;
    failpoint::here(Failpoint::InfoWritten);
    pins::remove_dir(&pins.maps_old())?;
    Ok(Guard {
        tables,
        held: indices().zip(holds).collect(),
        anchor: Anchor::hold(pins, to_pin)?,
        upkeep: Upkeep::default(),
        reach: pinned::reach(pins.path()),
        devices: BTreeMap::new(),
        devices_are_stale: true,
        attached,
        missing: Vec::new(),
        options: options.clone(),
        pins: pins.clone(),
        programs,
    })
}

/// Whether any interface is guarded, whether it is to be or not.
fn guards_anything(pins: &PinDir, places: &[Place]) -> Result<bool, Error> {
    if places.iter().any(Place::is_guarded) || !pins.linked(Hook::Ingress)?.is_empty() {
        return Ok(true);
    }
    // Filters have no pins. Where there is no table to tell of them there are none.
    let info = Tables::info_in(&pins.maps());
    for index in info.iter().flat_map(guarded) {
        if tc::look(pins, Hook::Ingress, index)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Says in `INFO` what is about to be, so that it is known wherever this is stopped: the
/// interfaces are those of before and those to come.
fn announce(tables: &mut Tables, options: &Options, pins: &PinDir) -> Result<(), Error> {
    let mut noted_before = false;
    for interface in &options.interfaces {
        noted_before |= tc::look(pins, Hook::Egress, interface.index)?.is_some();
    }
    let before = tables.info()?;
    let old = guarded(&before);
    let new = options
        .interfaces
        .iter()
        .map(|interface| interface.index)
        .filter(|index| !old.contains(index));
    let loaded = boot_nanoseconds();
    let is_warm = options.tracking.track && options.senders.daemon_runs && !noted_before;
    tables.set_info(&Info {
        abi: ABI,
        mode: options.mode.number(),
        loaded,
        warm_until: if is_warm {
            monotonic_nanoseconds() + WARM_UP
        } else {
            0
        },
        reply_window: if options.tracking.track {
            options.tracking.window
        } else {
            0
        },
        learn: options.tracking.learn as u32,
        client_rate: options.client_rate,
        total_rate: options.total_rate,
        interfaces: interfaces(old.iter().copied().chain(new)),
        ..before
    })
}

/// Chooses the maps and loads over them the programs that the interfaces need.
fn load(options: &Options, pins: &PinDir, other_ports: bool) -> Result<(Maps, Loaded), Error> {
    let fixed = Fixed {
        rates: Rates::per_second(options.client_rate, options.total_rate, random_key()?),
        other_ports,
    };
    let mut loader = Loader::new(&fixed.rates);
    let maps = Maps::choose(pins, &mut loader, options.settings(Link::Ethernet, &fixed))?;
    let links = options.interfaces.iter().map(|interface| interface.link);
    let links: Vec<Link> = links.collect();
    let loaded = Loaded::over(&maps.dir(pins), &mut loader, fixed, options, &links)?;
    Ok((maps, loaded))
}

/// Lets go of the interfaces that are to be guarded no more, and of what notes requests that
/// nobody asks for any more.
fn retire(pins: &PinDir, attached: &[Attached], info: &Info) -> Result<(), Error> {
    let of = |index| {
        attached
            .iter()
            .find(move |attached| attached.interface.index == index)
    };
    let known = guarded(info);
    for index in pins.linked(Hook::Ingress)?.iter().chain(&known) {
        if of(*index).is_none() {
            tc::vacate(pins, Hook::Ingress, *index)?;
        }
    }
    for index in pins.linked(Hook::Egress)?.iter().chain(&known) {
        if of(*index).is_none_or(|attached| attached.egress.is_none()) {
            tc::vacate(pins, Hook::Egress, *index)?;
        }
    }
    Ok(())
}

/// After a start that failed: interfaces that were not guarded before are let go, and where none
/// was, nothing stays behind.
fn undo(pins: &PinDir, guarded_before: bool, fresh: &[u32]) {
    let undone = if guarded_before {
        pins::remove_dir(&pins.maps_next()).and_then(|_| {
            fresh.iter().try_for_each(|index| {
                tc::vacate(pins, Hook::Ingress, *index)?;
                tc::vacate(pins, Hook::Egress, *index).map(drop)
            })
        })
    } else {
        unload(pins.path()).map(drop)
    };
    if let Err(error) = undone {
        tracing::warn!("cannot clean up after a failed start: {error}");
    }
}
