//! The file system that pinned maps and programs live in.

use std::fs;

use anyhow::{Context as _, Result};

use super::{Plan, Step};
use crate::{command, workspace::Workspace};

const MOUNTS: &str = "/proc/self/mounts";
const PLACE: &str = "/sys/fs/bpf";

/// The mounted file system.
pub(super) struct Bpffs;

impl Step for Bpffs {
    fn plan(&self, _: &Workspace) -> Result<Option<Plan>> {
        let mounts =
            fs::read_to_string(MOUNTS).with_context(|| format!("{MOUNTS} cannot be read"))?;
        let plan = || Plan {
            what: format!("mount bpffs at {PLACE}"),
            cost: "at once",
        };
        Ok((!is_mounted(&mounts)).then(plan))
    }

    fn act(&self, _: &Workspace) -> Result<()> {
        command::run(command::as_root("mount")?.args(["-t", "bpf", "bpf", PLACE]))
    }
}

fn is_mounted(mounts: &str) -> bool {
    mounts
        .lines()
        .map(str::split_whitespace)
        .any(|mut fields| fields.nth(1) == Some(PLACE) && fields.next() == Some("bpf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpffs_is_told_from_other_file_systems_and_other_places() {
        assert!(is_mounted(
            "proc /proc proc rw 0 0\nnone /sys/fs/bpf bpf rw,relatime 0 0\n"
        ));
        assert!(!is_mounted(
            "bpf /run/bpf bpf rw 0 0\ntmpfs /sys/fs/bpf tmpfs rw 0 0\n"
        ));
        assert!(!is_mounted(""));
    }
}
