//! Starting a guard, or taking over one that is there, so that it may be stopped anywhere.
//!
//! The order: the programs are loaded beside those in force; the tables hold what is wanted; only
//! then is a program attached or swapped; what is not needed any more goes last. A process that
//! is killed anywhere in between leaves each interface as it was or as it is to be, and the next
//! start finishes the work.

use std::path::PathBuf;

use nix::time::{ClockId, clock_gettime};
use ntpguard_common::{
    packet::Link,
    tables::{ABI, DEFAULT_TABLE_SIZE, Info, MAX_INTERFACES},
};

use super::{
    AttachMode, Attached, Error, Interface, Mode, PinDir, Settings, Tables, Unloaded,
    attach::Place,
    layout::Maps,
    object::Loader,
    pins,
    programs::{Kind, Programs},
    stops::{self, Stop},
    survey,
};
use crate::allowlist::projection::Projection;

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
            table_size: DEFAULT_TABLE_SIZE,
        }
    }

    const fn settings(&self, link: Link) -> Settings {
        Settings {
            mode: self.mode,
            link,
            explain: false,
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
    pins: PinDir,
}

impl Guard {
    /// Guards the interfaces with `wanted` in the tables. Links that are pinned already go on
    /// guarding and get the new program in one step; maps that fit are kept with their counters.
    ///
    /// The lock on the pin directory must be held. Where this fails, interfaces that were not
    /// guarded before are not guarded after, and those that were still are.
    pub fn start(options: &Options, wanted: &Projection) -> Result<Self, Error> {
        if options.interfaces.len() > MAX_INTERFACES {
            return Err(Error::TooManyInterfaces(options.interfaces.len()));
        }
        let pins = PinDir::new(&options.pin_dir);
        let guarded_before = pins.linked()?;
        let places = options
            .interfaces
            .iter()
            .map(|interface| Place::look(&pins, interface, options.attach))
            .collect::<Result<Vec<_>, _>>()?;
        let fresh: Vec<u32> = places
            .iter()
            .filter(|place| !place.is_guarded())
            .map(|place| place.interface.index)
            .collect();
        pins.create()?;
        install(options, &pins, places, wanted)
            .inspect_err(|_| undo(&pins, &guarded_before, &fresh))
    }

    /// Removes the guard and everything it pinned.
    pub fn detach(self) -> Result<Unloaded, Error> {
        survey::unload(self.pins.path())
    }
}

/// Loads, fills, attaches, and puts away what is left over, in this order.
fn install(
    options: &Options,
    pins: &PinDir,
    places: Vec<Place>,
    wanted: &Projection,
) -> Result<Guard, Error> {
    let (maps, mut programs) = load(options, pins)?;
    stops::here(Stop::ProgramsLoaded);

    let mut tables = Tables::open_maps(&maps.dir(pins))?;
    let held = tables.read()?;
    tables.apply(&held, wanted)?;
    stops::here(Stop::TablesFilled);
    maps.publish(pins)?;
    stops::here(Stop::MapsPublished);

    let mut attached = Vec::new();
    let mut used = Vec::new();
    for place in places {
        let link = place.interface.link;
        let (interface, kind) = place.occupy(programs.of(link)?, pins, options.attach)?;
        attached.push(interface);
        used.push((link, kind));
        stops::here(Stop::Attached);
    }
    stops::here(Stop::AllAttached);

    programs.pin(pins, &used)?;
    stops::here(Stop::ProgramsPinned);
    retire_links(pins, &attached)?;
    stops::here(Stop::LinksRetired);
    tables.set_info(&describe(options.mode, &attached, &tables.info()?))?;
    stops::here(Stop::InfoWritten);
    pins::remove_dir(&pins.maps_old())?;
    Ok(Guard {
        tables,
        attached,
        pins: pins.clone(),
    })
}

/// The programs in use, an object for each link type: the link type is a constant in it.
struct Loaded(Vec<(Link, Programs)>);

/// Chooses the maps and loads over them the programs that the interfaces need.
fn load(options: &Options, pins: &PinDir) -> Result<(Maps, Loaded), Error> {
    let mut loader = Loader::new();
    let maps = Maps::choose(pins, &mut loader, options.settings(Link::Ethernet))?;
    let mut loaded = Vec::new();
    for link in [Link::Ethernet, Link::RawIp] {
        if options
            .interfaces
            .iter()
            .any(|interface| interface.link == link)
        {
            let object = loader.load_over(options.settings(link), &maps.dir(pins))?;
            loaded.push((link, Programs::load(object)?));
        }
    }
    Ok((maps, Loaded(loaded)))
}

impl Loaded {
    fn of(&mut self, wanted: Link) -> Result<&mut Programs, Error> {
        self.0
            .iter_mut()
            .find_map(|(link, programs)| (*link == wanted).then_some(programs))
            .ok_or_else(|| Error::Missing(format!("program for {wanted:?} links")))
    }

    /// Pins, of each link type, the build of the program that the first interface uses, and
    /// removes the pins of those that none uses.
    fn pin(&mut self, pins: &PinDir, used: &[(Link, Kind)]) -> Result<(), Error> {
        for link in [Link::Ethernet, Link::RawIp] {
            match used.iter().find(|(other, _)| *other == link) {
                Some((_, kind)) => self.of(link)?.pin(*kind, &pins.program(link))?,
                None => pins::remove_pin(&pins.program(link))?,
            }
        }
        Ok(())
    }
}

/// Lets go of the interfaces that are to be guarded no more.
fn retire_links(pins: &PinDir, attached: &[Attached]) -> Result<(), Error> {
    for index in pins.linked()? {
        if !attached
            .iter()
            .any(|attached| attached.interface.index == index)
        {
            survey::unpin_link(pins, index)?;
        }
    }
    Ok(())
}

/// What `INFO` is to say of a guard that has just started.
fn describe(mode: Mode, attached: &[Attached], before: &Info) -> Info {
    let mut interfaces = [0; MAX_INTERFACES];
    for (place, attached) in interfaces.iter_mut().zip(attached) {
        *place = attached.interface.index;
    }
    Info {
        abi: ABI,
        mode: mode.number(),
        loaded: boot_nanoseconds(),
        interfaces,
        ..*before
    }
}

fn boot_nanoseconds() -> u64 {
    // Every kernel with BPF links has this clock.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec())
    });
    u64::try_from(now).unwrap_or(0)
}

/// After a start that failed: interfaces that were not guarded before are let go, and where none
/// was, nothing stays behind.
fn undo(pins: &PinDir, guarded_before: &[u32], fresh: &[u32]) {
    let undone = if guarded_before.is_empty() {
        survey::unload(pins.path()).map(drop)
    } else {
        pins::remove_dir(&pins.maps_next()).and_then(|_| {
            fresh
                .iter()
                .try_for_each(|index| survey::unpin_link(pins, *index))
        })
    };
    if let Err(error) = undone {
        tracing::warn!("after a start that failed: {error}");
    }
}
