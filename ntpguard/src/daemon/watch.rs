//! Tells when a configuration file may have changed (inotify(7)).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::pending,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use futures_util::{FutureExt as _, StreamExt as _};
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask};

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

/// Bytes of events that are read at once.
const BUFFER: usize = 4_096;

/// Watches the directories that configuration files are in, since files are often replaced.
#[derive(Debug)]
pub struct Watch {
    events: EventStream<Vec<u8>>,
    /// What is watched for, with where symbolic links lead.
    paths: BTreeSet<PathBuf>,
    /// The directories of that. Several paths may lead to one.
    directories: BTreeMap<PathBuf, Directory>,
    /// Files that were written to and are still open.
    being_written: BTreeSet<PathBuf>,
}

/// A directory, as it was when its watch began: another may take its path over.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Directory {
    identity: Identity,
    watch: WatchDescriptor,
}

/// A directory's device and inode.
type Identity = (u64, u64);

impl Watch {
    /// Makes a watch of nothing yet.
    ///
    /// # Errors
    /// There are no more inotify instances or files to be had.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            events: Inotify::init()?.into_event_stream(vec![0; BUFFER])?,
            paths: BTreeSet::new(),
            directories: BTreeMap::new(),
            being_written: BTreeSet::new(),
        })
    }

    /// Watches what leads to `paths`, and nothing else any more.
    ///
    /// Of a path that does not exist, the nearest directory that does is watched, so that its
    /// coming is noticed.
    pub fn set(&mut self, paths: &[PathBuf]) {
        let real = paths.iter().filter_map(|path| path.canonicalize().ok());
        self.paths = paths.iter().cloned().chain(real).collect();
        let wanted: BTreeSet<PathBuf> = self.paths.iter().flat_map(|path| around(path)).collect();
        let before = std::mem::take(&mut self.directories);
        for path in wanted {
            let Some(identity) = identity(&path) else {
                continue;
            };
            let kept = before.get(&path).filter(|kept| kept.identity == identity);
            let watch = kept
                .map(|kept| kept.watch.clone())
                .or_else(|| self.start(&path));
            let directory = watch.map(|watch| Directory { identity, watch });
            self.directories
                .extend(directory.map(|directory| (path, directory)));
        }
        for directory in before.into_values() {
            if self.paths_of(&directory.watch).next().is_none() {
                // One that was removed is no longer watched already.
                drop(self.events.watches().remove(directory.watch));
            }
        }
        let directories = &self.directories;
        self.being_written.retain(|file| {
            file.parent()
                .is_some_and(|parent| directories.contains_key(parent))
        });
    }

    fn start(&self, directory: &Path) -> Option<WatchDescriptor> {
        let added = self.events.watches().add(directory, CHANGES);
        added
            .inspect_err(|error| {
                tracing::warn!(
                    "cannot watch {} for changes ({error}); `ntpguard allowlist update` reads it",
                    directory.display()
                );
            })
            .ok()
    }

    /// Waits until something has changed.
    pub async fn changed(&mut self) {
        loop {
            let mut changed = match self.events.next().await {
                Some(Ok(event)) => self.take(&event),
                end => {
                    tracing::error!(
                        "changes of files are not noticed any more ({}); `ntpguard allowlist update` \
                         reads them",
                        end.and_then(Result::err)
                            .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
                    );
                    return pending().await;
                }
            };
            // Changes come in crowds.
            while let Some(Some(Ok(event))) = self.events.next().now_or_never() {
                changed |= self.take(&event);
            }
            if changed {
                return;
            }
        }
    }

    /// Whether a file that matters is just being written to, as far as was told.
    pub fn is_being_written(&self) -> bool {
        !self.being_written.is_empty()
    }

    /// Takes an event; says whether it can change what is read.
    fn take(&mut self, event: &EventOwned) -> bool {
        // The queue was full, and nobody knows what else there was.
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            self.being_written.clear();
            return true;
        }
        let directories: Vec<PathBuf> = self.paths_of(&event.wd).map(Path::to_owned).collect();
        if event.mask.contains(EventMask::IGNORED) {
            for directory in &directories {
                self.directories.remove(directory);
            }
        }
        let mut matters = false;
        for directory in directories {
            let path = match &event.name {
                Some(name) => directory.join(name),
                None => directory,
            };
            if !self.is_watched_for(&path) {
                continue;
            }
            matters = true;
            if event.mask.contains(EventMask::MODIFY) {
                self.being_written.insert(path);
            } else if !event.mask.contains(EventMask::ATTRIB) {
                self.being_written.remove(&path);
            }
        }
        matters
    }

    /// Whether `path` leads to a path that is watched for, or is in a directory that is.
    fn is_watched_for(&self, path: &Path) -> bool {
        let in_watched = path
            .parent()
            .is_some_and(|parent| self.paths.contains(parent));
        in_watched || self.paths.iter().any(|watched| watched.starts_with(path))
    }

    fn paths_of(&self, watch: &WatchDescriptor) -> impl Iterator<Item = &Path> {
        self.directories
            .iter()
            .filter(move |(_, directory)| directory.watch == *watch)
            .map(|(path, _)| &**path)
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

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _, time::Duration};

    use tokio::time::timeout;

    use super::*;

    async fn reported(watch: &mut Watch) -> bool {
        timeout(Duration::from_secs(5), watch.changed())
            .await
            .is_ok()
    }

    async fn nothing_reported(watch: &mut Watch) -> bool {
        timeout(Duration::from_millis(50), watch.changed())
            .await
            .is_err()
    }

    async fn drain(watch: &mut Watch) {
        while !nothing_reported(watch).await {}
    }

    #[tokio::test]
    async fn writing_replacing_and_removing_are_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ntp.conf");
        let mut watch = Watch::new().unwrap();
        watch.set(std::slice::from_ref(&file));
        fs::write(&file, "server a").unwrap();
        assert!(reported(&mut watch).await, "written");
        let other = directory.path().join("new");
        fs::write(&other, "server b").unwrap();
        drain(&mut watch).await;
        fs::rename(&other, &file).unwrap();
        assert!(reported(&mut watch).await, "replaced");
        drain(&mut watch).await;
        fs::remove_file(&file).unwrap();
        assert!(reported(&mut watch).await, "removed");
    }

    #[tokio::test]
    async fn the_coming_of_a_directory_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("chrony").join("conf.d");
        let mut watch = Watch::new().unwrap();
        watch.set(&[missing]);
        fs::create_dir(directory.path().join("chrony")).unwrap();
        assert!(reported(&mut watch).await);
    }

    #[tokio::test]
    async fn reading_and_other_files_are_no_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ntp.conf");
        fs::write(&file, "server a").unwrap();
        let mut watch = Watch::new().unwrap();
        watch.set(std::slice::from_ref(&file));
        fs::read(&file).unwrap();
        fs::write(directory.path().join("passwd"), "root").unwrap();
        assert!(nothing_reported(&mut watch).await);
        fs::write(&file, "server b").unwrap();
        assert!(reported(&mut watch).await);
    }

    #[tokio::test]
    async fn a_file_is_being_written_until_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ntp.conf");
        let mut watch = Watch::new().unwrap();
        watch.set(std::slice::from_ref(&path));
        let mut file = File::create(&path).unwrap();
        file.write_all(b"server a\n").unwrap();
        drain(&mut watch).await;
        assert!(watch.is_being_written());
        drop(file);
        assert!(reported(&mut watch).await);
        assert!(!watch.is_being_written());
    }

    #[tokio::test]
    async fn two_paths_to_one_directory_are_one_watch() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (
            directory.path().join("v1"),
            directory.path().join("current"),
        );
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let file = real.join("ntp.conf");
        let mut watch = Watch::new().unwrap();
        watch.set(&[file.clone(), link.join("ntp.conf")]);
        watch.set(std::slice::from_ref(&file));
        drain(&mut watch).await;
        fs::write(&file, "server a").unwrap();
        assert!(reported(&mut watch).await);
    }
}
