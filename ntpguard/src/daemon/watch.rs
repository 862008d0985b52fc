//! Tells when a configuration file may have changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How long after a change the files are read: an editor or a package manager writes several, and
/// a file that is half written is best left alone.
pub const SETTLE: Duration = Duration::from_millis(500);

/// Watches the directories that configuration files are in, since files are often replaced.
#[derive(Debug)]
pub struct Watch {
    watcher: RecommendedWatcher,
    /// Directories with what they were when their watch began: another may take a path over.
    watched: BTreeMap<PathBuf, Identity>,
}

/// A directory's device and inode.
type Identity = (u64, u64);

impl Watch {
    /// Makes a watch that reports on `changed`. Several changes at once may be one report.
    pub fn new(changed: mpsc::Sender<()>) -> notify::Result<Self> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading a file is no change to it; a queue that overflowed may hide one.
            let matters = event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_)));
            // A full channel already holds a report.
            let _ = matters.then(|| changed.try_send(()));
        })?;
        Ok(Self {
            watcher,
            watched: BTreeMap::new(),
        })
    }

    /// Watches what leads to `paths`, and nothing else any more.
    ///
    /// Of a path that does not exist, the nearest directory that does is watched, so that its
    /// coming is noticed.
    pub fn set(&mut self, paths: &[PathBuf]) {
        let directories: BTreeSet<PathBuf> =
            paths.iter().flat_map(|path| directories(path)).collect();
        let wanted: BTreeMap<PathBuf, Identity> = directories
            .into_iter()
            .filter_map(|path| identity(&path).map(|identity| (path, identity)))
            .collect();
        for (path, identity) in &self.watched {
            if wanted.get(path) != Some(identity) {
                // A directory that was removed is no longer watched already.
                drop(self.watcher.unwatch(path));
            }
        }
        let before = std::mem::take(&mut self.watched);
        self.watched = wanted
            .into_iter()
            .filter(|(path, identity)| before.get(path) == Some(identity) || self.start(path))
            .collect();
    }

    fn start(&mut self, directory: &Path) -> bool {
        match self.watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    "cannot watch {} for changes ({error}); `ntpguard allowlist update` reads it",
                    directory.display()
                );
                false
            }
        }
    }
}

/// The directories whose entries decide what `path` is: its own, if it is one, its parent, and the
/// parent of that, where the directory itself may be replaced or a symbolic link to it turned.
fn directories(path: &Path) -> Vec<PathBuf> {
    let real = path.canonicalize().ok();
    let mut found: Vec<PathBuf> = Vec::new();
    for path in [Some(path), real.as_deref()].into_iter().flatten() {
        if path.is_dir() {
            found.push(path.to_owned());
        }
        let above = path.ancestors().skip(1).filter(|path| path.is_dir());
        found.extend(above.take(2).map(Path::to_owned));
    }
    found
}

fn identity(directory: &Path) -> Option<Identity> {
    let metadata = fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reported(changed: &mut mpsc::Receiver<()>) -> bool {
        tokio::time::timeout(Duration::from_secs(5), changed.recv())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn writing_replacing_and_removing_are_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ntp.conf");
        let (report, mut changed) = mpsc::channel(1);
        let mut watch = Watch::new(report).unwrap();
        watch.set(std::slice::from_ref(&file));
        fs::write(&file, "server a").unwrap();
        assert!(reported(&mut changed).await, "written");
        let other = directory.path().join("new");
        fs::write(&other, "server b").unwrap();
        while changed.try_recv().is_ok() {}
        fs::rename(&other, &file).unwrap();
        assert!(reported(&mut changed).await, "replaced");
        while changed.try_recv().is_ok() {}
        fs::remove_file(&file).unwrap();
        assert!(reported(&mut changed).await, "removed");
    }

    #[tokio::test]
    async fn the_coming_of_a_directory_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("chrony").join("conf.d");
        let (report, mut changed) = mpsc::channel(1);
        let mut watch = Watch::new(report).unwrap();
        watch.set(&[missing]);
        fs::create_dir(directory.path().join("chrony")).unwrap();
        assert!(reported(&mut changed).await);
    }
}
