//! Which files systemd-timesyncd reads, in which order.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::super::reading_builder::ReadingBuilder;

/// The main file, below each of [`DIRECTORIES`].
const MAIN: &str = "systemd/timesyncd.conf";
/// Where files are looked for, the first to have a name wins.
const DIRECTORIES: [&str; 5] = ["etc", "run", "usr/local/lib", "usr/lib", "lib"];
/// What networkd knows of all links; systemd's own library reads `NTP=` from it.
pub(super) const NETWORKD: &str = "run/systemd/netif/state";

/// The root of the file system that `main` is the main file of, if it is in one of the places.
pub(super) fn root_of(main: &Path) -> Option<&Path> {
    DIRECTORIES.iter().find_map(|directory| {
        let below = Path::new(directory).join(MAIN);
        let root = main.ancestors().nth(below.components().count())?;
        (root.join(&below) == main).then_some(root)
    })
}

/// The places of the main file below `root`, the first of which counts.
pub(in super::super) fn main_files(root: &Path) -> impl Iterator<Item = PathBuf> {
    DIRECTORIES
        .into_iter()
        .map(move |directory| root.join(directory).join(MAIN))
}

/// The directories of drop-ins below `root`.
pub(super) fn drop_in_directories(root: &Path) -> impl Iterator<Item = PathBuf> {
    main_files(root).map(|main| main.with_extension("conf.d"))
}

/// The drop-ins in the order they are read: by name, and of one name that in the first directory.
/// A link to /dev/null, or an empty file, hides those of its name.
pub(super) fn drop_ins(builder: &mut ReadingBuilder<'_>, directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for directory in directories {
        for path in builder.directory(directory, ".conf", None) {
            if let Some(name) = path.file_name().map(ToOwned::to_owned) {
                found.entry(name).or_insert(path);
            }
        }
    }
    let files = builder.files();
    let found = found.into_values();
    found.filter(|path| !files.is_null(path)).collect()
}
