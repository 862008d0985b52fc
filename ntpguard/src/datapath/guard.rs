//! Starting a guard, or taking over one that is there, so that it may be stopped anywhere.
//!
//! The order: the programs are loaded beside those in force; the tables hold what is wanted; only
//! then is a program attached or swapped, first where packets leave, then where they arrive; what is
//! not needed any more goes last. A process that is killed anywhere in between leaves each interface
//! as it was or as it is to be, and the next start finishes the work.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ntpguard_common::{
    judge::{Clock, WARM_UP},
    packet::Link,
    rates::Rates,
    tables::{ABI, DEFAULT_TABLE_SIZE, Info, MAX_INTERFACES},
};

use super::{
    AttachMode, Attached, Error, How, Interface, Missing, Mode, PinDir, Reach, Settings, Tables,
    Tracking, Unloaded,
    attachments::{Device, Upkeep, pinned, pinned::Anchor},
    chain,
    held::Holds,
    layout::Maps,
    loaded::{Fixed, Loaded},
    netlink,
    object::Loader,
    pins::{self, Hook},
    place::Place,
    stack,
    stops::{self, Stop},
    survey,
    takeover::take_over,
    tc,
};
use crate::{
    allowlist::projection::Projection,
    clock::{boot_nanoseconds, monotonic_nanoseconds},
    trust::Found,
};

/// What a guard is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where programs, maps and links are pinned; on a BPF file system.
    pub pin_dir: PathBuf,
    /// The interfaces to guard, and no others.
    pub interfaces: Vec<Interface>,
    /// What becomes of packets without a grant.
    pub mode: Mode,
    /// Where the program is to run.
    pub attach: AttachMode,
    /// What replies have to prove.
    pub tracking: Tracking,
    /// Packets a second that each client may send, 0 for no limit.
    pub client_rate: u32,
    /// Packets a second that all clients may send, 0 for no limit.
    pub total_rate: u32,
    /// Who is trusted as it starts.
    pub senders: Found,
    /// The uids that are trusted.
    pub uids: BTreeSet<u32>,
    /// Most entries of each `ALLOW_*` map.
    pub table_size: u32,
}

impl Options {
    /// The usual options, for these interfaces.
    pub fn new(pin_dir: impl Into<PathBuf>, interfaces: Vec<Interface>) -> Self {
        Self {
            pin_dir: pin_dir.into(),
            interfaces,
            mode: Mode::Enforce,
            attach: AttachMode::Auto,
            tracking: Tracking::default(),
            client_rate: Rates::CLIENT,
            total_rate: Rates::TOTAL,
            senders: Found::default(),
            uids: BTreeSet::new(),
            table_size: DEFAULT_TABLE_SIZE,
        }
    }

    /// Looks at the interfaces before anything is changed: whether each is fit to be guarded so.
    pub(super) fn places(&self, pins: &PinDir) -> Result<Vec<Place>, Error> {
        if self.interfaces.len() > MAX_INTERFACES {
            return Err(Error::TooManyInterfaces(self.interfaces.len()));
        }
        netlink::blocking(stack::ensure_apart(&self.interfaces))?;
        let look = |interface| Place::look(pins, interface, self.attach);
        self.interfaces.iter().map(look).collect()
    }

    pub(super) const fn settings(&self, link: Link, fixed: &Fixed) -> Settings {
        Settings {
            mode: self.mode,
            link,
            explain: false,
            tracking: self.tracking,
            other_ports: fixed.other_ports,
            rates: fixed.rates,
            clock: Clock::Kernel,
            table_size: self.table_size,
        }
    }
}

/// A guard in force. Dropping it leaves the guard in the kernel.
#[derive(Debug)]
pub struct Guard {
    /// The tables it looks into.
    pub tables: Tables,
    /// The interfaces it guards.
    pub attached: Vec<Attached>,
    /// Those it is to guard when they come back.
    pub missing: Vec<Missing>,
    /// What it is, for these.
    pub(super) options: Options,
    pub(super) pins: PinDir,
    /// Kept loaded: an interface that comes back is not to be open for long.
    pub(super) programs: Loaded,
    /// What is held of each guarded interface, by its index.
    pub(super) held: BTreeMap<u32, Holds>,
    /// What is held of the pins.
    pub(super) anchor: Anchor,
    pub(super) upkeep: Upkeep,
    /// How far the BPF file system reaches, where that is not far enough.
    pub(super) reach: Option<Reach>,
    /// The devices of the network namespace, as of the last time that they were asked for.
    pub(super) devices: BTreeMap<u32, Device>,
    pub(super) devices_are_stale: bool,
}

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

    /// Whether anything judges what arrives: where somebody else is to attach the program, he may not
    /// have done so.
    pub fn is_guarding(&self) -> bool {
        self.attached.iter().any(|attached| self.judges(attached))
    }

    /// Whether a program judges what arrives at an interface.
    pub fn judges(&self, attached: &Attached) -> bool {
        attached.how != How::External || matches!(chain::find(&self.pins), Ok(Some(_)))
    }

    /// Removes the guard and everything it pinned.
    pub fn detach(self) -> Result<Unloaded, Error> {
        let unloaded = survey::unload(self.pins.path());
        // Where the pins are gone, filters are found by their interfaces.
        for hook in [Hook::Ingress, Hook::Egress] {
            for index in self.held.keys() {
                tc::vacate(&self.pins, hook, *index)?;
            }
        }
        unloaded
    }
}

/// Loads, fills, attaches, and puts away what is left over, in this order.
fn install(
    options: &Options,
    pins: &PinDir,
    places: Vec<Place>,
    wanted: &Projection,
) -> Result<Guard, Error> {
    let (maps, mut programs) = load(options, pins, !wanted.elsewhere.is_empty())?;
    stops::here(Stop::ProgramsLoaded);

    let mut tables = Tables::open_maps(&maps.dir(pins))?;
    let held = tables.read()?;
    tables.apply(&held, wanted)?;
    tables.set_teachers(&options.senders.for_kernel())?;
    tables.set_teacher_uids(&options.uids)?;
    stops::here(Stop::TablesFilled);
    maps.publish(pins)?;
    stops::here(Stop::MapsPublished);

    announce(&mut tables, options, pins)?;

    let taken = take_over(options, pins, &mut programs, places)?;
    let used = taken.iter();
    let used = used.map(|(attached, holds)| (attached.interface.link, holds));
    let to_pin = programs.used(pins, used)?;
    pins::pin_programs(pins, &to_pin)?;
    stops::here(Stop::ProgramsPinned);
    let (attached, holds): (Vec<Attached>, Vec<Holds>) = taken.into_iter().unzip();
    retire(pins, &attached, &tables.info()?)?;
    stops::here(Stop::LinksRetired);
    let indices = || attached.iter().map(|attached| attached.interface.index);
    let mut info = tables.info()?;
    info.interfaces = interfaces(indices());
    tables.set_info(&info)?;
    stops::here(Stop::InfoWritten);
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

/// The interfaces that `INFO` names.
pub(super) fn guarded(info: &Info) -> Vec<u32> {
    let named = info.interfaces.iter().copied();
    named.filter(|index| *index != 0).collect()
}

/// The interfaces as `INFO` names them.
pub(super) fn interfaces(indices: impl Iterator<Item = u32>) -> [u32; MAX_INTERFACES] {
    let mut interfaces = [0; MAX_INTERFACES];
    for (place, index) in interfaces.iter_mut().zip(indices) {
        *place = index;
    }
    interfaces
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

/// A key that nobody can guess, new for each start.
pub(super) fn random_key() -> Result<[u64; 2], Error> {
    let random =
        || getrandom::u64().map_err(|source| Error::system("draw a random key", source.into()));
    Ok([random()?, random()?])
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
        survey::unload(pins.path()).map(drop)
    };
    if let Err(error) = undone {
        tracing::warn!("after a start that failed: {error}");
    }
}
