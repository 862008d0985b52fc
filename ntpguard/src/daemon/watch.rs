//! Tells when a configuration file may have changed (inotify(7)).

mod pace;
#[cfg(test)]
mod tests;
mod watched;

use std::{collections::BTreeSet, future::pending, io, path::PathBuf};

use futures_util::{FutureExt as _, StreamExt as _};
use inotify::{EventMask, EventOwned, EventStream, Inotify};
use tokio::time::{Instant, sleep_until};

use self::{pace::Pace, watched::Watched};
use crate::offload::{Offload, Outcome};

/// Bytes of events that are read at once.
const BUFFER: usize = 4_096;

/// The most events that wait for this process where nothing else was set
/// (`/proc/sys/fs/inotify/max_queued_events`).
const QUEUE: usize = 16_384;

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
    pace: Pace,
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
            pace: Pace::new(Instant::now()),
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
        let watched = &self.watched;
        self.being_written
            .retain(|file| file.parent().is_some_and(|parent| watched.has(parent)));
        self.begin();
        is_missed
    }

    /// Waits until something has changed, or may have.
    pub async fn changed(&mut self) {
        loop {
            let rest = self.pace.resting_until();
            let changed = tokio::select! {
                () = sleep_until(rest.unwrap_or_else(Instant::now)), if rest.is_some() => self.wake(),
                event = self.events.next(), if rest.is_none() => match event {
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

    /// Takes an event and those behind it: changes come in crowds. After too many, nothing is listened to
    /// for a while.
    fn take_all(&mut self, event: &EventOwned) -> bool {
        let mut changed = self.take(event);
        while !self.pace.is_exceeded(Instant::now()) {
            let Some(Some(Ok(event))) = self.events.next().now_or_never() else {
                return changed;
            };
            changed |= self.take(&event);
        }
        self.miss()
    }

    /// Listens again, if the events have ceased. What came meanwhile is not looked at.
    fn wake(&mut self) -> bool {
        let mut came = 0;
        while came < QUEUE && matches!(self.events.next().now_or_never(), Some(Some(Ok(_)))) {
            came += 1;
        }
        self.pace.wake(came, Instant::now());
        self.miss()
    }

    /// Notes that events were missed, any of which may have been a change.
    fn miss(&mut self) -> bool {
        self.being_written.clear();
        self.watched.doubt();
        true
    }

    /// Whether a file that matters is just being written to, as far as was told.
    pub fn is_being_written(&self) -> bool {
        !self.being_written.is_empty()
    }

    /// Takes an event; says whether it can change what is read.
    fn take(&mut self, event: &EventOwned) -> bool {
        // The queue was full, and nobody knows what else there was.
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return self.miss();
        }
        let directories = self.watched.paths_of(&event.wd);
        if event.mask.contains(EventMask::IGNORED) {
            self.watched.forget(&event.wd);
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
