//! The directories that lead to what is watched for.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    ops::Bound,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use inotify::{WatchDescriptor, WatchMask, Watches};

/// The most directories that are watched: a configuration that others can write may name very many.
pub(super) const MOST_DIRECTORIES: usize = 1_024;

/// What happens in a directory that can change a configuration. Opening and reading files are not
/// among it: in /etc they never end.
const CHANGES: WatchMask = WatchMask::ATTRIB
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::CREATE)
    .union(WatchMask::DELETE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MODIFY)
    .union(WatchMask::MOVE)
    .union(WatchMask::MOVE_SELF);

/// What is watched.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    /// What is watched for, with where symbolic links lead.
    paths: BTreeSet<PathBuf>,
    /// The directories of that. Several paths may lead to one.
    directories: BTreeMap<PathBuf, Directory>,
    /// The paths that lead to each of them.
    paths_of: HashMap<WatchDescriptor, BTreeSet<PathBuf>>,
    /// The directories that cannot be watched, as was logged.
    refused: BTreeSet<PathBuf>,
    /// Whether it was logged that there are more than can be watched.
    is_over: bool,
    /// Whether events were missed, so that a watch may have ended.
    is_stale: bool,
}

/// A directory, as it was when its watch began: another may take its path over.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Directory {
    identity: Identity,
    watch: WatchDescriptor,
}

/// A directory's device and inode.
type Identity = (u64, u64);

impl Watched {
    /// Watches what leads to `paths`, those that come first first, and nothing else any more. This may
    /// take as long as file systems please.
    pub(super) fn set(mut self, watches: &mut Watches, paths: &[PathBuf]) -> Self {
        let before = std::mem::take(&mut self.directories);
        let is_kept = !std::mem::take(&mut self.is_stale);
        let wanted = self.choose(paths);
        self.paths_of.clear();
        for path in wanted {
            let Some(identity) = identity(&path) else {
                continue;
            };
            let kept = before
                .get(&path)
                .filter(|kept| is_kept && kept.identity == identity);
            let watch = kept
                .map(|kept| kept.watch.clone())
                .or_else(|| self.start(watches, &path));
            if let Some(watch) = watch {
                let paths = self.paths_of.entry(watch.clone()).or_default();
                paths.insert(path.clone());
                self.directories.insert(path, Directory { identity, watch });
            }
        }
        for directory in before.into_values() {
            if !self.paths_of.contains_key(&directory.watch) {
                // One that was removed is no longer watched already.
                drop(watches.remove(directory.watch));
            }
        }
        self
    }

    /// The directories to watch for `paths`, as many as there may be.
    fn choose(&mut self, paths: &[PathBuf]) -> BTreeSet<PathBuf> {
        let mut wanted = BTreeSet::new();
        self.paths.clear();
        for path in paths {
            if wanted.len() >= MOST_DIRECTORIES {
                if !std::mem::replace(&mut self.is_over, true) {
                    tracing::warn!(
                        "more than {MOST_DIRECTORIES} directories lead to what is read: changes behind {} \
                         are not noticed; `ntpguard allowlist update` reads them",
                        path.display()
                    );
                }
                break;
            }
            let real = path.canonicalize().ok();
            for path in real.into_iter().chain([path.clone()]) {
                wanted.extend(around(&path));
                self.paths.insert(path);
            }
        }
        wanted
    }

    fn start(&mut self, watches: &mut Watches, directory: &Path) -> Option<WatchDescriptor> {
        match watches.add(directory, CHANGES) {
            Ok(watch) => {
                self.refused.remove(directory);
                Some(watch)
            }
            Err(error) => {
                if self.refused.insert(directory.to_owned()) {
                    tracing::warn!(
                        "cannot watch {} for changes ({error}); after a change, run `ntpguard \
                         allowlist update`",
                        directory.display()
                    );
                }
                None
            }
        }
    }

    /// Whether all directories were watched before, so that no change of them can have been missed.
    pub(super) fn is_within(&self, before: &Self) -> bool {
        let is_same = |(path, directory)| before.directories.get(path) == Some(directory);
        self.directories.iter().all(is_same)
    }

    /// Whether `directory` is watched.
    pub(super) fn has(&self, directory: &Path) -> bool {
        self.directories.contains_key(directory)
    }

    /// Whether `path` leads to a path that is watched for, or is in a directory that is.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        let in_watched = path
            .parent()
            .is_some_and(|parent| self.paths.contains(parent));
        // What is below a path follows it in their order.
        let from_there = (Bound::Included(path), Bound::Unbounded);
        let mut at_or_below = self.paths.range::<Path, _>(from_there);
        in_watched
            || at_or_below
                .next()
                .is_some_and(|watched| watched.starts_with(path))
    }

    /// The paths that lead to the directory of a watch.
    pub(super) fn paths_of(&self, watch: &WatchDescriptor) -> Vec<PathBuf> {
        let paths = self.paths_of.get(watch).into_iter().flatten();
        paths.cloned().collect()
    }

    /// Forgets a watch that has ended.
    pub(super) fn forget(&mut self, watch: &WatchDescriptor) {
        for path in self.paths_of.remove(watch).into_iter().flatten() {
            self.directories.remove(&path);
        }
    }

    /// Notes that events were missed: all watches are to begin again.
    pub(super) fn doubt(&mut self) {
        self.is_stale = true;
    }
}

/// The directories whose entries decide what `path` is: its own, if it is one, its parent, and the
/// parent of that, where the directory itself may be replaced or a symbolic link to it turned.
fn around(path: &Path) -> Vec<PathBuf> {
    let above = path
        .ancestors()
        .skip(1)
        .filter(|path| path.is_dir())
        .take(2);
    let own = path.is_dir().then_some(path);
    own.into_iter().chain(above).map(Path::to_owned).collect()
}

fn identity(directory: &Path) -> Option<Identity> {
    let metadata = fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
