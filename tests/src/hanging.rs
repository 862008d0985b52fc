//! A file system that hangs.

use std::{
    fs::{File, OpenOptions},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A file system whose server never answers (fuse(4)), over a directory. Whoever waits for it is let go
/// when this is dropped.
#[derive(Debug)]
pub struct Hanging {
    server: Option<File>,
    directory: PathBuf,
}

impl Hanging {
    /// Mounts it.
    ///
    /// # Errors
    /// The kernel has no FUSE.
    pub fn over(directory: &Path) -> Result<Self> {
        let server = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let server = server.context("no FUSE: load its module with `modprobe fuse`")?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            server.as_raw_fd()
        );
        let kind = Some("fuse");
        let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
        mount(Some("hangs"), directory, kind, flags, Some(&*options))
            .context("cannot mount a file system that hangs")?;
        Ok(Self {
            server: Some(server),
            directory: directory.to_owned(),
        })
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        drop(self.server.take());
        // It can only fail where it was not mounted.
        umount2(&self.directory, MntFlags::MNT_DETACH).ok();
    }
}
