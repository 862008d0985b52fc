//! A directory of pins for one test.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Context, Result};
use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use crate::names;

/// Where bpffs is mounted.
pub(crate) const ROOT: &str = "/sys/fs/bpf";

/// What the names of all our directories begin with.
pub(crate) const PREFIX: &str = "ng-test";

static MOUNTING: Mutex<()> = Mutex::new(());

/// A directory of its own in bpffs, removed on drop with every pin in it.
///
/// A removed pin lets go of what it held: links are detached, maps freed.
#[derive(Debug)]
pub struct PinDir {
    path: PathBuf,
}

impl PinDir {
    /// Makes a directory below `/sys/fs/bpf`, after mounting bpffs there if it is not.
    ///
    /// # Errors
    ///
    /// Without root, or where the kernel has no bpffs.
    pub fn new() -> Result<Self> {
        ensure_mounted()?;
        // bpffs refuses dots in names.
        let path = Path::new(ROOT).join(names::unique(PREFIX));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PinDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn ensure_mounted() -> Result<()> {
    let _one_at_a_time = MOUNTING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mounted = statfs(ROOT).with_context(|| format!("cannot look at {ROOT}"))?;
    if mounted.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    let none: Option<&str> = None;
    mount(Some("bpf"), ROOT, Some("bpf"), MsFlags::empty(), none)
        .with_context(|| format!("cannot mount bpffs on {ROOT}"))
}
