//! Clearing away what runs that were killed left behind.

use std::{fs, path::Path};

use crate::{bpffs, cgroup, names, namespace};

/// Deletes the namespaces, pins and cgroups of processes that no longer live.
pub(crate) fn leftovers() {
    for name in orphans(namespace::DIRECTORY, namespace::PREFIX) {
        if let Err(error) = namespace::delete(&name) {
            eprintln!("cannot delete the leftover namespace {name}: {error:#}");
        }
    }
    cgroup::sweep();
    for name in orphans(bpffs::ROOT, bpffs::PREFIX) {
        if let Err(error) = fs::remove_dir_all(Path::new(bpffs::ROOT).join(&name)) {
            eprintln!("cannot remove the leftover pins {name}: {error}");
        }
    }
}

/// Names in `directory` that processes made which no longer live.
fn orphans(directory: impl AsRef<Path>, prefix: &str) -> Vec<String> {
    // Where the directory is missing nothing is left in it.
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| names::is_orphan(prefix, name))
        .collect()
}
