//! What a guard left in the kernel, and its removal.

use std::{collections::BTreeSet, fs, path::Path};

use nix::libc::{EBUSY, ENOTEMPTY};
use ntpguard_common::tables::Info;

use super::{
    Error, How, Mode, PinDir, Tables, Tc, bpffs, chain, guard, netlink,
    pins::{self, Hook},
    place::Holder,
    tc,
};

/// What is pinned now.
#[derive(Debug)]
pub struct Survey {
    /// The interfaces with a program or a pinned link, by index.
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

/// An interface with a program or a pinned link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// Its index.
    pub index: u32,
    /// Its name; `None` where it is gone.
    pub name: Option<String>,
    /// Where the program runs, as the kernel says; `None` where the link guards nothing that this
    /// network namespace has: the interface is gone, or another has its index now.
    pub how: Option<How>,
    /// How what leaves is noted, where it is.
    pub egress: Option<Tc>,
}

/// Finds out what is pinned under `pin_dir`, which need not exist.
pub fn survey(pin_dir: &Path) -> Result<Survey, Error> {
    let pins = PinDir::new(pin_dir);
    let tables = Tables::open(pin_dir)?;
    let info = tables.as_ref().map(Tables::info).transpose()?;
    let mut indices: BTreeSet<u32> = pins.linked(Hook::Ingress)?.into_iter().collect();
    // Filters have no pins.
    indices.extend(info.iter().flat_map(guard::guarded));
    let mut interfaces = Vec::new();
    for index in indices {
        interfaces.extend(guarded(&pins, index)?);
    }
    Ok(Survey {
        interfaces,
        tables,
        info,
    })
}

fn guarded(pins: &PinDir, index: u32) -> Result<Option<Guarded>, Error> {
    let message = netlink::ask(index)?;
    let holder = Holder::of(pins, index, message.as_ref())?;
    let how = match holder {
        Holder::Nobody if chain::find(pins).is_ok_and(|found| found.is_some()) => {
            Some(How::External)
        }
        Holder::Nobody => return Ok(None),
        holder => holder.how(),
    };
    Ok(Some(Guarded {
        index,
        name: message.as_ref().and_then(netlink::name).map(str::to_owned),
        how,
        egress: tc::look(pins, Hook::Egress, index)?,
    }))
}

/// What [`unload`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unloaded {
    /// Links and filters: where programs were attached.
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
    let mut guarded: BTreeSet<u32> = BTreeSet::new();
    for hook in [Hook::Ingress, Hook::Egress] {
        guarded.extend(pins.linked(hook)?);
    }
    // Where there is no table that tells of more interfaces there are no more.
    if let Ok(info) = Tables::info_in(&pins.maps()) {
        guarded.extend(guard::guarded(&info));
    }
    // First what judges, so that no reply is dropped because nobody saw its request.
    for hook in [Hook::Ingress, Hook::Egress] {
        for index in &guarded {
            removed.links += usize::from(tc::vacate(&pins, hook, *index)?);
        }
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
