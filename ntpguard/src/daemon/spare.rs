//! A descriptor in reserve, so that a question is heard although no more files are to be had.

use std::{fs::File, io};

/// The descriptor, and what is wrong with accepting connections.
#[derive(Debug)]
pub(super) struct Spare {
    file: Option<File>,
    /// Whether it was logged that connections cannot be accepted.
    is_noted: bool,
}

impl Spare {
    pub(super) fn new() -> Self {
        Self {
            file: open(),
            is_noted: false,
        }
    }

    /// Gives the descriptor away for a connection that could not be accepted for this reason; says whether
    /// there was one.
    pub(super) fn give(&mut self, why: &io::Error) -> bool {
        self.note(why);
        self.file.take().is_some()
    }

    /// Takes a descriptor again, if there is one to be had. All is well then.
    pub(super) fn take_again(&mut self) {
        if self.file.is_none() {
            self.file = open();
        }
        if self.file.is_some() && std::mem::take(&mut self.is_noted) {
            tracing::info!("control connections are accepted again");
        }
    }

    /// Logs why a connection cannot be accepted, when that begins.
    pub(super) fn note(&mut self, why: &io::Error) {
        if !std::mem::replace(&mut self.is_noted, true) {
            tracing::warn!(
                "cannot accept control connections: {why}; `ntpguard` commands are answered late until that \
                 is over"
            );
        }
    }
}

fn open() -> Option<File> {
    File::open("/dev/null").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_is_given_once_and_taken_again() {
        let mut spare = Spare::new();
        let why = io::Error::from_raw_os_error(nix::libc::EMFILE);
        assert!(spare.give(&why));
        assert!(!spare.give(&why));
        assert!(spare.is_noted);
        spare.take_again();
        assert!(!spare.is_noted);
        assert!(spare.give(&why));
    }
}
