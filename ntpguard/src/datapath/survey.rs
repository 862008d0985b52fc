//! What a guard left in the kernel, and its removal.

use std::{fs, path::Path};

use nix::libc::{EBUSY, ENOTEMPTY};
use ntpguard_common::tables::Info;

use super::{
    Error, How, Mode, PinDir, Tables, bpffs,
    link::XdpLink,
    netlink::{self, Connection},
    pins,
};

/// What is pinned now.
#[derive(Debug)]
pub struct Survey {
    /// The interfaces with a pinned link, by index.
    pub interfaces: Vec<Guarded>,
    /// The tables, where there are any.
    pub tables: Option<Tables>,
    /// What `INFO` says of the guard, where there are tables.
    pub info: Option<Info>,
}

impl Survey {
    /// The mode in force, where there are tables.
    pub fn mode(&self) -> Option<Mode> {
        self.info.map(|info| Mode::from_number(info.mode))
    }

    /// Whether any interface is guarded.
    pub fn is_guarding(&self) -> bool {
        self.interfaces
            .iter()
            .any(|interface| interface.how.is_some())
    }
}

/// An interface with a pinned link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// Its index.
    pub index: u32,
    /// Its name; `None` where it is gone.
    pub name: Option<String>,
    /// Where the program runs, as the kernel says; `None` where the link guards nothing that this
    /// network namespace has: the interface is gone, or another has its index now.
    pub how: Option<How>,
}

/// Finds out what is pinned under `pin_dir`, which need not exist.
pub fn survey(pin_dir: &Path) -> Result<Survey, Error> {
    let pins = PinDir::new(pin_dir);
    let mut interfaces = Vec::new();
    for index in pins.linked()? {
        interfaces.extend(guarded(&pins, index)?);
    }
    let tables = Tables::open(pin_dir)?;
    let info = tables.as_ref().map(Tables::info).transpose()?;
    Ok(Survey {
        interfaces,
        tables,
        info,
    })
}

fn guarded(pins: &PinDir, index: u32) -> Result<Option<Guarded>, Error> {
    let path = pins.link(index);
    let failed = |source| Error::system(format!("open link {}", path.display()), source);
    let Some(link) = XdpLink::open(&path).map_err(failed)? else {
        return Ok(None);
    };
    let info = link.info().map_err(failed)?;
    let answer = netlink::blocking(async { Connection::open()?.link_by_index(index).await })?;
    let how = answer
        .as_ref()
        .and_then(netlink::occupant)
        .filter(|occupant| info.interface == index && occupant.program_id == info.program_id)
        .and_then(|occupant| occupant.how);
    let name = answer.as_ref().and_then(netlink::name).map(str::to_owned);
    Ok(Some(Guarded { index, name, how }))
}

/// What [`unload`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unloaded {
    /// Links, each an interface that is guarded no more.
    pub links: usize,
    /// Programs.
    pub programs: usize,
    /// Maps.
    pub maps: usize,
}

/// Removes the guard and everything it pinned under `pin_dir`. One that does not exist is fine; one
/// that is not on a BPF file system is refused, because what it holds is somebody else's.
pub fn unload(pin_dir: &Path) -> Result<Unloaded, Error> {
    let pins = PinDir::new(pin_dir);
    if !bpffs::holds(pin_dir)? {
        return Ok(Unloaded::default());
    }
    let mut removed = Unloaded::default();
    for index in pins.linked()? {
        unpin_link(&pins, index)?;
        removed.links += 1;
    }
    pins::remove_dir(&pins.links())?;
    removed.programs = pins::remove_dir(&pins.programs())?;
    for maps in [pins.maps(), pins.maps_next(), pins.maps_old()] {
        removed.maps += pins::remove_dir(&maps)?;
    }
    match fs::remove_dir(pins.path()) {
        Err(error) if !leaves_it(&error) => Err(Error::system(
            format!("remove {}", pins.path().display()),
            error,
        )),
        _ => Ok(removed),
    }
}

/// Whether the pin directory stays because it is not there, not ours alone, or a mount point.
fn leaves_it(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(ENOTEMPTY | EBUSY))
}

/// Ends a link. While it is open, removing its pin does not detach it; closing it then does, at
/// once, where the removal alone leaves that to a work queue of the kernel.
pub(super) fn unpin_link(pins: &PinDir, interface: u32) -> Result<(), Error> {
    let path = pins.link(interface);
    let link = XdpLink::open(&path)
        .map_err(|source| Error::system(format!("open link {}", path.display()), source))?;
    pins::remove_pin(&path)?;
    drop(link);
    Ok(())
}
