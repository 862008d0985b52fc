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
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};

use crate::offload::{Offload, Outcome};

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

/// The name of the thread that finds out what to watch.
const THREAD: &str = "ntpguard-watch";

/// Watches the directories that configuration files are in, since files are often replaced.
#[derive(Debug)]
pub struct Watch {
    events: EventStream<Vec<u8>>,
    watched: Watched,
    /// Files that were written to and are still open.
    being_written: BTreeSet<PathBuf>,
    /// Looking where paths lead may hang, as reading may.
    setting: Offload<Watched>,
    /// What is to be watched next.
    wanted: Option<Vec<PathBuf>>,
}

/// What is watched.
#[derive(Clone, Debug, Default)]
struct Watched {
    /// What is watched for, with where symbolic links lead.
    paths: BTreeSet<PathBuf>,
    /// The directories of that. Several paths may lead to one.
    directories: BTreeMap<PathBuf, Directory>,
    /// The directories that cannot be watched, as was logged.
    refused: BTreeSet<PathBuf>,
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
    /// Watches what leads to `paths`, and nothing else any more. This may take as long as file systems
    /// please.
    fn set(mut self, watches: &mut Watches, paths: &[PathBuf]) -> Self {
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
                .or_else(|| self.start(watches, &path));
            let directory = watch.map(|watch| Directory { identity, watch });
            self.directories
                .extend(directory.map(|directory| (path, directory)));
        }
        for directory in before.into_values() {
            if self.paths_of(&directory.watch).next().is_none() {
                // One that was removed is no longer watched already.
                drop(watches.remove(directory.watch));
            }
        }
        self
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
    fn is_within(&self, before: &Self) -> bool {
        let is_same = |(path, directory)| before.directories.get(path) == Some(directory);
        self.directories.iter().all(is_same)
    }

    /// Whether `path` leads to a path that is watched for, or is in a directory that is.
    fn concerns(&self, path: &Path) -> bool {
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

impl Watch {
    /// Makes a watch of nothing yet.
    ///
    /// # Errors
    /// There are no more inotify instances or files to be had.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            events: Inotify::init()?.into_event_stream(vec![0; BUFFER])?,
            watched: Watched::default(),
            being_written: BTreeSet::new(),
            setting: Offload::new(THREAD),
            wanted: None,
        })
    }

    /// Watches what leads to `paths`, and nothing else any more, as soon as may be while
    /// [`Self::changed`] is waited for.
    ///
    /// Of a path that does not exist, the nearest directory that does is watched, so that its
    /// coming is noticed.
    pub fn set(&mut self, paths: Vec<PathBuf>) {
        self.wanted = Some(paths);
        self.begin();
    }

    /// Begins to set what is wanted, unless something else is being set.
    fn begin(&mut self) {
        if self.setting.is_busy() {
            return;
        }
        if let Some(paths) = self.wanted.take() {
            let (watched, mut watches) = (self.watched.clone(), self.events.watches());
            self.setting
                .start(move || watched.set(&mut watches, &paths));
        }
    }

    /// Takes what is watched from now on; says whether a change may have been missed before.
    fn take_watched(&mut self, outcome: Outcome<Watched>) -> bool {
        let is_missed = match outcome {
            Outcome::Done(watched) => {
                let is_missed = !watched.is_within(&self.watched);
                self.watched = watched;
                is_missed
            }
            Outcome::Overdue => {
                tracing::warn!(
                    "watching files takes too long: is a file system hanging? Changes go \
                     unnoticed until it finishes"
                );
                false
            }
            Outcome::Lost => false,
        };
        let directories = &self.watched.directories;
        self.being_written.retain(|file| {
            file.parent()
                .is_some_and(|parent| directories.contains_key(parent))
        });
        self.begin();
        is_missed
    }

    /// Waits until something has changed.
    pub async fn changed(&mut self) {
        loop {
            let changed = tokio::select! {
                event = self.events.next() => match event {
                    Some(Ok(event)) => self.take_all(&event),
                    end => return blind(end.and_then(Result::err)).await,
                },
                outcome = self.setting.next() => self.take_watched(outcome),
            };
            if changed {
                return;
            }
        }
    }

    /// Takes an event and those behind it: changes come in crowds.
    fn take_all(&mut self, event: &EventOwned) -> bool {
        let mut changed = self.take(event);
        while let Some(Some(Ok(event))) = self.events.next().now_or_never() {
            changed |= self.take(&event);
        }
        changed
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
        let directories: Vec<PathBuf> = self
            .watched
            .paths_of(&event.wd)
            .map(Path::to_owned)
            .collect();
        if event.mask.contains(EventMask::IGNORED) {
            for directory in &directories {
                self.watched.directories.remove(directory);
            }
        }
        let mut matters = false;
        for directory in directories {
            let path = match &event.name {
                Some(name) => directory.join(name),
                None => directory,
            };
            if !self.watched.concerns(&path) {
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
}

/// Waits for ever where no more changes are noticed.
async fn blind(error: Option<io::Error>) {
    tracing::error!(
        "changes of files go unnoticed from now on ({}); after a change, run `ntpguard allowlist \
         update`",
        error.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
    );
    pending::<()>().await;
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

    /// Sets what is watched, and waits until it is.
    async fn set(watch: &mut Watch, paths: &[PathBuf]) {
        watch.set(paths.to_vec());
        while watch.setting.is_busy() {
            drop(timeout(Duration::from_millis(5), watch.changed()).await);
        }
        drain(watch).await;
    }

    async fn drain(watch: &mut Watch) {
        while !nothing_reported(watch).await {}
    }

    #[tokio::test]
    async fn writing_replacing_and_removing_are_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ntp.conf");
        let mut watch = Watch::new().unwrap();
        set(&mut watch, std::slice::from_ref(&file)).await;
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
        set(&mut watch, &[missing]).await;
        fs::create_dir(directory.path().join("chrony")).unwrap();
        assert!(reported(&mut watch).await);
    }

    #[tokio::test]
    async fn reading_and_other_files_are_no_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ntp.conf");
        fs::write(&file, "server a").unwrap();
        let mut watch = Watch::new().unwrap();
        set(&mut watch, std::slice::from_ref(&file)).await;
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
        set(&mut watch, std::slice::from_ref(&path)).await;
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
        set(&mut watch, &[file.clone(), link.join("ntp.conf")]).await;
        set(&mut watch, std::slice::from_ref(&file)).await;
        drain(&mut watch).await;
        fs::write(&file, "server a").unwrap();
        assert!(reported(&mut watch).await);
    }

    #[tokio::test]
    async fn what_changed_before_a_directory_was_watched_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ntp.conf");
        let mut watch = Watch::new().unwrap();
        watch.set(vec![file.clone()]);
        assert!(reported(&mut watch).await, "a directory that is new");
        set(&mut watch, std::slice::from_ref(&file)).await;
        watch.set(vec![file]);
        assert!(nothing_reported(&mut watch).await, "the same again");
    }
}
