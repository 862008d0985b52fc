//! Removing what a guard left in the kernel.

use std::{collections::BTreeSet, fs, path::Path};

use nix::libc::{EBUSY, ENOTEMPTY};

use crate::datapath::{
    Error, PinDir, Tables,
    attach::tc,
    maps::info::guarded,
    pins::{self, Hook, bpffs},
};

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
    let mut interfaces: BTreeSet<u32> = BTreeSet::new();
    for hook in [Hook::Ingress, Hook::Egress] {
        interfaces.extend(pins.linked(hook)?);
    }
    // Where there is no table that tells of more interfaces there are no more.
    if let Ok(info) = Tables::info_in(&pins.maps()) {
        interfaces.extend(guarded(&info));
    }
    // First what judges, so that no reply is dropped because nobody saw its request.
    for hook in [Hook::Ingress, Hook::Egress] {
        for index in &interfaces {
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
