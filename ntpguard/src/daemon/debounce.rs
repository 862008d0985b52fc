//! When files that change are read: not while they are half written.

use std::time::Duration;

use tokio::time::Instant;

/// How long nothing may have changed: an editor or a package manager writes several files.
const QUIET: Duration = Duration::from_millis(500);

/// How long a reading is put off by ever new changes.
const LONGEST: Duration = Duration::from_millis(1_500);

/// How long it is put off by a file that somebody writes to and does not close.
const LONGEST_WRITING: Duration = Duration::from_secs(10);

/// The changes since the files were last read.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    /// The first of them and the last.
    changes: Option<(Instant, Instant)>,
}

impl Debounce {
    /// Notes a change.
    pub(super) fn changed(&mut self, now: Instant) {
        let first = self.changes.map_or(now, |(first, _)| first);
        self.changes = Some((first, now));
    }

    /// When the files are to be read, if they have changed.
    pub(super) fn due(&self, is_being_written: bool) -> Option<Instant> {
        let (first, last) = self.changes?;
        if is_being_written {
            return Some(first + LONGEST_WRITING);
        }
        Some((last + QUIET).min(first + LONGEST))
    }

    /// Notes that they are read now.
    pub(super) fn read(&mut self) {
        self.changes = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_when_they_have_settled_and_never_much_later() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due(false), None);
        debounce.changed(at(0));
        assert_eq!(debounce.due(false), Some(at(500)));
        debounce.changed(at(400));
        assert_eq!(debounce.due(false), Some(at(900)));
        debounce.changed(at(1_400));
        assert_eq!(debounce.due(false), Some(at(1_500)));
        assert_eq!(debounce.due(true), Some(at(10_000)));
        debounce.read();
        assert_eq!(debounce.due(true), None);
    }
}
