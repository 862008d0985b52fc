//! The BPF file system, which keeps objects in the kernel while no process holds them.

use std::path::{Path, PathBuf};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use crate::datapath::Error;

/// Where systems mount it.
const USUAL: &str = "/sys/fs/bpf";

/// Checks that `dir`, or what of it exists, is on a BPF file system. Where it is below the usual
/// place and nothing is mounted there, mounts it.
pub(in crate::datapath) fn require(dir: &Path) -> Result<(), Error> {
    let (existing, is_bpffs) = deepest_existing(dir)?;
    if is_bpffs {
        return Ok(());
    }
    let usual = Path::new(USUAL);
    if !dir.starts_with(usual) || existing != usual {
        return Err(not_bpffs(dir));
    }
    mount(
        Some("bpf"),
        usual,
        Some("bpf"),
        MsFlags::empty(),
        Some("mode=0700"),
    )
    .map_err(|errno| Error::system(format!("mount a BPF file system at {USUAL}"), errno.into()))?;
    tracing::info!("mounted a BPF file system at {USUAL}");
    Ok(())
}

/// Whether `dir` exists; one that is elsewhere is refused.
pub(in crate::datapath) fn holds(dir: &Path) -> Result<bool, Error> {
    match is_bpffs(dir)? {
        None => Ok(false),
        Some(true) => Ok(true),
        Some(false) => Err(not_bpffs(dir)),
    }
}

fn not_bpffs(dir: &Path) -> Error {
    let mount_at = if dir.exists() {
        dir
    } else {
        dir.parent().unwrap_or(dir)
    };
    Error::NotBpffs {
        pin_dir: dir.to_owned(),
        mount_at: mount_at.to_owned(),
    }
}

/// Whether `path` is on a BPF file system; `None` where nothing has this name. One question, since
/// whoever holds the lock may take the directory away between two.
fn is_bpffs(path: &Path) -> Result<Option<bool>, Error> {
    match statfs(path) {
        Ok(answer) => Ok(Some(answer.filesystem_type() == BPF_FS_MAGIC)),
        // EPERM is a BPF file system's word on names with a dot (bpf_lookup in kernel/bpf/inode.c).
        Err(Errno::ENOENT | Errno::EPERM) => Ok(None),
        Err(errno) => Err(Error::system(
            format!("look at {}", path.display()),
            errno.into(),
        )),
    }
}

/// The part of `dir` that exists, and whether that is on a BPF file system.
pub(in crate::datapath) fn deepest_existing(dir: &Path) -> Result<(PathBuf, bool), Error> {
    for path in dir.ancestors() {
        if let Some(is_bpffs) = is_bpffs(path)? {
            return Ok((path.to_owned(), is_bpffs));
        }
    }
    Ok((PathBuf::from("/"), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_elsewhere_is_refused_with_the_command_that_helps() {
        let dir = tempfile::tempdir().unwrap();
        let pins = dir.path().join("pins");
        let text = require(&pins).unwrap_err().to_string();
        let command = format!("mount -t bpf bpf {}", dir.path().display());
        assert!(text.contains(&command), "{text}");
    }
}
