//! Whether a daemon's container was named as trusted, and what is said where it was not.

use std::path::{Component, Path};

use crate::{
    processes::TimeDaemon,
    trust::{Trust, cgroup::Hierarchy},
};

/// Whether one of `trusted` is the daemon's cgroup, or one above it.
pub(super) fn is_trusted(daemon: &TimeDaemon, trusted: &[Trust]) -> bool {
    let hierarchy = Hierarchy::mounted().found();
    let Some(hierarchy) = hierarchy.filter(|_| !trusted.is_empty()) else {
        return false;
    };
    let cgroups = daemon.cgroups().unwrap_or_default();
    let Some(cgroup) = cgroup(&cgroups) else {
        return false;
    };
    let path = hierarchy.path(cgroup);
    // The kernel has no such names but for a cgroup that is not below what this process sees.
    let is_below_root = !cgroup
        .components()
        .any(|component| component == Component::ParentDir);
    let mut trusted = trusted.iter();
    is_below_root && trusted.any(|trust| path.starts_with(trust.path(&hierarchy)))
}

/// Why a daemon in a container is not read, and what to do about it.
pub(super) fn unread(daemon: &TimeDaemon) -> String {
    let cgroups = daemon.cgroups().unwrap_or_default();
    let cgroup = cgroup(&cgroups).filter(|cgroup| *cgroup != Path::new("/"));
    let cure = match (Hierarchy::mounted().found(), cgroup) {
        (Some(hierarchy), Some(cgroup)) => {
            format!(
                "trust its cgroup by name: --trust {}",
                hierarchy.path(cgroup).display()
            )
        }
        _ => "run it in its own cgroup, and name that with --trust".to_owned(),
    };
    let name = daemon.program.name();
    format!("{name} runs in a container, so its configuration is not read; {cure}")
}

/// The cgroup of version 2 in the text of a `/proc/PID/cgroup`.
fn cgroup(text: &str) -> Option<&Path> {
    let name = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    name.starts_with('/').then(|| Path::new(name))
}
