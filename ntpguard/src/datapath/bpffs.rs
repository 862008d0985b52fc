//! The BPF file system, which keeps objects in the kernel while no process holds them.

use std::path::{Path, PathBuf};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::Error;

/// Where systems mount it.
const USUAL: &str = "/sys/fs/bpf";

/// Checks that `dir`, or what of it exists, is on a BPF file system. Where it is below the usual
/// place and nothing is mounted there, mounts it.
pub(super) fn require(dir: &Path) -> Result<(), Error> {
    let existing = deepest_existing(dir);
    if is_bpffs(&existing)? {
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
    tracing::info!("mounted a BPF file system at {USUAL}, where there was none");
    Ok(())
}

/// Whether `dir` exists; one that is elsewhere is refused.
pub(super) fn holds(dir: &Path) -> Result<bool, Error> {
    if !dir.exists() {
        return Ok(false);
    }
    if is_bpffs(dir)? {
        Ok(true)
    } else {
        Err(not_bpffs(dir))
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

fn is_bpffs(path: &Path) -> Result<bool, Error> {
    let answer = statfs(path)
        .map_err(|errno| Error::system(format!("look at {}", path.display()), errno.into()))?;
    Ok(answer.filesystem_type() == BPF_FS_MAGIC)
}

fn deepest_existing(dir: &Path) -> PathBuf {
    dir.ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"))
        .to_owned()
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
