//! The pin directory: what keeps the guard in the kernel when no process does.

pub(super) mod bpffs;
pub mod lock;
pub(super) mod objects;

use std::{
    fs::{self, DirBuilder},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
};

use ntpguard_common::wire::packet::Link;

use super::{Error, attach::bpf_link::Link as BpfLink, guard::held::Pinned};

/// A hook of an interface on which a link can be pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// XDP or tcx, where packets arrive.
    Ingress,
    /// tcx, where packets leave.
    Egress,
}

impl Hook {
    /// The hook's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// The end of a pinned link's name; what stands before it is the interface's index.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Ingress => "-ingress",
            Self::Egress => "-egress",
        }
    }

    /// The name of the pinned program for interfaces of this link type.
    const fn program(self, link: Link) -> &'static str {
        match (self, link) {
            (Self::Ingress, Link::Ethernet) => "ingress",
            (Self::Ingress, Link::RawIp) => "ingress-raw",
            (Self::Egress, Link::Ethernet) => "egress",
            (Self::Egress, Link::RawIp) => "egress-raw",
        }
    }
}

/// The pin directory and the names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinDir(PathBuf);

impl PinDir {
    /// The pin directory at `path`, whether it exists or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Holds the maps in use, by their names.
    pub fn maps(&self) -> PathBuf {
        self.0.join("maps")
    }

    /// Where new maps are made, to become [`Self::maps`] as a whole.
    pub(super) fn maps_next(&self) -> PathBuf {
        self.0.join("maps-next")
    }

    /// Where maps go that others have replaced, until no link needs them.
    pub(super) fn maps_old(&self) -> PathBuf {
        self.0.join("maps-old")
    }

    /// Holds the programs.
    pub fn programs(&self) -> PathBuf {
        self.0.join("programs")
    }

    /// The pinned program of a hook, for interfaces of this link type.
    pub fn program(&self, hook: Hook, link: Link) -> PathBuf {
        self.programs().join(hook.program(link))
    }

    /// Holds the links.
    pub fn links(&self) -> PathBuf {
        self.0.join("links")
    }

    /// The pinned link of a hook of the interface of this index.
    pub fn link(&self, hook: Hook, interface: u32) -> PathBuf {
        self.links().join(format!("{interface}{}", hook.suffix()))
    }

    /// The interfaces that a link of this hook is pinned for, by index.
    pub(super) fn linked(&self, hook: Hook) -> Result<Vec<u32>, Error> {
        let mut interfaces: Vec<u32> = entries(&self.links())?
            .iter()
            .filter_map(|path| {
                path.file_name()?
                    .to_str()?
                    .strip_suffix(hook.suffix())?
                    .parse()
                    .ok()
            })
            .collect();
        interfaces.sort_unstable();
        Ok(interfaces)
    }

    /// Checks that the directory is, or can be, on a BPF file system, and mounts that where the usual
    /// place lacks it.
    pub fn require(&self) -> Result<(), Error> {
        bpffs::require(&self.0)
    }

    /// Makes the directory and those in it, for root alone, mounting the BPF file system where
    /// the usual place lacks it.
    pub fn create(&self) -> Result<(), Error> {
        bpffs::require(&self.0)?;
        for dir in [self.0.clone(), self.programs(), self.links()] {
            make_dir(&dir)?;
        }
        Ok(())
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), Error> {
    loop {
        match DirBuilder::new().recursive(true).mode(0o700).create(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(nix::libc::EPERM) && dotted(dir) => {
                return Err(Error::DottedName(dir.to_owned()));
            }
            // Whoever held the lock removed the directory between the kernel's answer and the
            // builder's look at what is there.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_other(dir) => {}
            Err(error) => return Err(Error::system(format!("make {}", dir.display()), error)),
        }
    }
}

/// Whether something that is not a directory has this name.
fn is_other(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| !found.is_dir())
}

fn dotted(dir: &Path) -> bool {
    dir.components()
        .any(|part| part.as_os_str().to_string_lossy().contains('.'))
}

/// What a directory holds, in order; nothing where it does not exist.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::system(format!("list {}", dir.display()), source);
    let listing = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in listing {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Removes a directory and the pins in it, and says how many these were. One that does not exist
/// has none.
pub(super) fn remove_dir(dir: &Path) -> Result<usize, Error> {
    let paths = entries(dir)?;
    for path in &paths {
        remove_pin(path)?;
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::system(format!("remove {}", dir.display()), error))
        }
        _ => Ok(paths.len()),
    }
}

/// Pins an object at `path`, in place of what is there unless that is the same.
pub(super) fn pin_object(object: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::system(format!("pin {}", path.display()), source);
    if names(path, object).map_err(failed)? {
        return Ok(());
    }
    remove_pin(path)?;
    objects::pin(object, path).map_err(failed)
}

/// Pins these programs and no others. Each comes beside the one that it replaces, and takes its place in
/// one step.
pub(super) fn pin_programs(pins: &PinDir, programs: &[Pinned]) -> Result<(), Error> {
    for Pinned { path, object } in programs {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!("{name}-next"));
        pin_object(object.as_fd(), &beside)?;
        fs::rename(&beside, path)
            .map_err(|source| Error::system(format!("pin program {}", path.display()), source))?;
    }
    let is_wanted = |path: &PathBuf| programs.iter().any(|pinned| pinned.path == *path);
    let pinned = entries(&pins.programs())?;
    pinned
        .iter()
        .filter(|path| !is_wanted(path))
        .try_for_each(|path| remove_pin(path))
}

/// Whether `path` is a pin of this object.
pub(super) fn names(path: &Path, object: BorrowedFd<'_>) -> io::Result<bool> {
    let Some(pinned) = objects::open(path)? else {
        return Ok(false);
    };
    Ok(objects::identity(pinned.as_fd())? == objects::identity(object)?)
}

/// Ends a pinned link, and says whether there was one. Another process may hold it: it is detached in
/// the kernel before its pin goes.
pub(super) fn end_link(path: &Path) -> Result<bool, Error> {
    let link = BpfLink::open(path)
        .map_err(|source| Error::system(format!("open link {}", path.display()), source))?;
    if let Some(link) = &link
        && let Err(error) = link.detach()
    {
        tracing::debug!("{} will be lost with its last pin: {error}", path.display());
    }
    remove_pin(path)?;
    Ok(link.is_some())
}

/// Removes one pin, if it is there.
pub(super) fn remove_pin(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::system(format!("unpin {}", path.display()), error))
        }
        _ => Ok(()),
    }
}
