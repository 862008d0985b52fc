//! The pins: what keeps a guard in the kernel when no process does.

use std::{
    fs::{self, File, Metadata},
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use super::difference::{PinLoss, Reach};
use nix::{sys::stat::makedev, unistd::geteuid};
use {
    crate::datapath::Error,
    crate::datapath::Lock,
    crate::datapath::PinDir,
    crate::datapath::guard::held::Pinned,
    crate::datapath::pins::bpffs,
    crate::datapath::pins::make_dir,
    crate::datapath::pins::pin_object,
    crate::datapath::pins::{self},
    crate::mounts,
};

/// The inode of the first pid namespace (`PROC_PID_INIT_INO` in the kernel's `proc_ns.h`).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// The pin directory and the programs in it, by descriptor. While it is held, no unmounting ends a link.
#[derive(Debug)]
pub(in crate::datapath) struct Anchor {
    dir: File,
    identity: (u64, u64),
    pub(in crate::datapath) programs: Vec<Pinned>,
}

/// Objects, and where they should be pinned.
pub(in crate::datapath) type Pins<'a> = [(PathBuf, BorrowedFd<'a>)];

impl Anchor {
    /// Takes hold of the pin directory; the lock on it must be held.
    pub(in crate::datapath) fn hold(pins: &PinDir, programs: Vec<Pinned>) -> Result<Self, Error> {
        let (dir, identity) = open(pins.path())?;
        Ok(Self {
            dir,
            identity,
            programs,
        })
    }

    /// The directory in which these maps are pinned, wherever it is mounted.
    pub(in crate::datapath) fn dir_of(
        &self,
        pins: &PinDir,
        maps: &Pins<'_>,
    ) -> Result<PathBuf, Error> {
        let below_descriptor = format!("/proc/self/fd/{}/maps", self.dir.as_raw_fd());
        let holds_all = |dir: &PathBuf| {
            maps.iter().all(|(path, map)| {
                let name = path.file_name().unwrap_or_default();
                pins::names(&dir.join(name), *map).unwrap_or(false)
            })
        };
        [pins.maps(), below_descriptor.into()]
            .into_iter()
            .find(holds_all)
            .ok_or_else(|| Error::PinsGone(pins.path().to_owned()))
    }

    /// What is wrong with the pins.
    pub(in crate::datapath) fn loss(
        &self,
        pins: &PinDir,
        objects: &Pins<'_>,
    ) -> Result<Option<PinLoss>, Error> {
        let (existing, is_bpffs) = bpffs::deepest_existing(pins.path())?;
        if !is_bpffs {
            return Ok(Some(PinLoss::Unmounted { at: existing }));
        }
        let pin_dir = || pins.path().to_owned();
        let device = fs::metadata(&existing).map(|found| found.dev());
        if device.is_ok_and(|device| device != self.identity.0) {
            return Ok(Some(PinLoss::MountedAnew { pin_dir: pin_dir() }));
        }
        let mut gone = 0;
        for (path, object) in objects {
            let failed = |source| Error::system(format!("look at {}", path.display()), source);
            gone += usize::from(!pins::names(path, *object).map_err(failed)?);
        }
        Ok((gone > 0).then(|| PinLoss::Gone {
            pin_dir: pin_dir(),
            gone,
            of: objects.len(),
        }))
    }

    /// Pins again what is not pinned; gives the directory, and the lock on it where it is a new one.
    pub(in crate::datapath) fn restore(
        &self,
        pins: &PinDir,
        objects: &Pins<'_>,
    ) -> Result<Restored, Error> {
        let there = fs::metadata(pins.path());
        let is_ours = there.is_ok_and(|found| identity(&found) == self.identity);
        let lock = if is_ours {
            None
        } else {
            Some(pins.lock(Duration::ZERO)?)
        };
        let (dir, identity) = open(pins.path())?;
        ensure_ours(&dir, pins.path())?;
        for dir in [pins.maps(), pins.programs(), pins.links()] {
            make_dir(&dir)?;
        }
        for (path, object) in objects {
            pin_object(*object, path)?;
        }
        Ok(Restored {
            dir,
            identity,
            lock,
        })
    }

    /// Takes hold of a pin directory that was made again; gives the lock on it, if that is a new one.
    pub(in crate::datapath) fn take(&mut self, restored: Restored) -> Option<Lock> {
        (self.dir, self.identity) = (restored.dir, restored.identity);
        restored.lock
    }
}

/// A pin directory in which everything is pinned again.
#[derive(Debug)]
pub(in crate::datapath) struct Restored {
    dir: File,
    identity: (u64, u64),
    lock: Option<Lock>,
}

fn open(path: &Path) -> Result<(File, (u64, u64)), Error> {
    let open = || {
        let dir = File::open(path)?;
        let identity = identity(&dir.metadata()?);
        Ok((dir, identity))
    };
    open().map_err(|source| Error::system(format!("open {}", path.display()), source))
}

/// Refuses a directory that another user made where ours was: he could take the pins away.
fn ensure_ours(dir: &File, path: &Path) -> Result<(), Error> {
    let failed = |source| Error::system(format!("pin below {}", path.display()), source);
    let owner = dir.metadata().map_err(failed)?.uid();
    if owner == geteuid().as_raw() {
        return Ok(());
    }
    Err(failed(io::Error::other(format!(
        "it belongs to uid {owner}"
    ))))
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// How far the BPF file system of a directory reaches, if that is not as far as the system does.
pub(in crate::datapath) fn reach(pin_dir: &Path) -> Option<Reach> {
    let device = fs::metadata(pin_dir).ok()?.dev();
    // Where it cannot be read, nothing is known.
    if mount_of(device, "/proc/1/mountinfo").ok()?.is_none() {
        return Some(Reach::MountNamespace);
    }
    let namespace = fs::metadata("/proc/self/ns/pid").ok()?.ino();
    if namespace == FIRST_PID_NAMESPACE {
        return None;
    }
    let here = mount_of(device, "/proc/self/mountinfo").ok()??;
    (!here.comes_from_outside).then_some(Reach::Container)
}

/// A mount, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// Whether mounts of another mount namespace come to it.
    comes_from_outside: bool,
}

/// Finds the mount of a device among those of a process.
fn mount_of(device: u64, mountinfo: &str) -> io::Result<Option<Mount>> {
    mounts::find(Path::new(mountinfo), |line| Mount::of(device, line))
}

impl Mount {
    /// The mount of a line (`proc_pid_mountinfo(5)`), if it is this device's.
    fn of(device: u64, line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (major, minor) = words.nth(2)?.split_once(':')?;
        let its = makedev(major.parse().ok()?, minor.parse().ok()?);
        if its != device {
            return None;
        }
        // After the root, the mount point and the options.
        let mut optional = words.skip(3).take_while(|word| *word != "-");
        Some(Self {
            comes_from_outside: optional.any(|word| word.starts_with("master:")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_device() {
        let mounts = "23 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
                         42 23 0:39 / /sys/fs/bpf rw,relatime - bpf bpf rw\n\
                         43 23 0:40 / /run/bpf rw,relatime master:7 - bpf bpf rw\n";
        let found = |minor| {
            let mut lines = mounts.lines();
            lines.find_map(|line| Mount::of(makedev(0, minor), line))
        };
        let comes = |comes_from_outside| Some(Mount { comes_from_outside });
        assert_eq!(found(39), comes(false));
        assert_eq!(found(40), comes(true));
        assert_eq!(found(41), None);
        for nonsense in ["", "nonsense", "1 2 nonsense", "1 2 0:x / /"] {
            assert_eq!(Mount::of(makedev(0, 39), nonsense), None);
        }
    }
}
