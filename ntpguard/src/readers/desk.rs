//! A reader's end of the socket.

use std::os::{fd::OwnedFd, unix::net::UnixStream};

use serde::{Serialize, de::DeserializeOwned};

use super::{FROM_GUARD, FROM_READER, FrameError, frame};
#[cfg(any(test, feature = "fuzzing"))]
use crate::confine::Work;

/// A reader's end of the socket, and the descriptors that came with its work.
#[derive(Debug)]
pub(crate) struct Desk {
    stream: UnixStream,
    descriptors: Vec<OwnedFd>,
}

impl Desk {
    pub(super) fn new(stream: UnixStream, descriptors: Vec<OwnedFd>) -> Self {
        Self {
            stream,
            descriptors,
        }
    }

    /// Says something to the guard.
    pub(crate) fn say<T: Serialize>(&mut self, message: &T) -> Result<(), FrameError> {
        frame::write(&mut self.stream, message, FROM_READER)
    }

    /// The same, however long.
    #[cfg(test)]
    pub(crate) fn say_whatever<T: Serialize>(&mut self, message: &T) -> Result<(), FrameError> {
        frame::write(&mut self.stream, message, usize::MAX)
    }

    /// Hears what the guard says.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Result<T, FrameError> {
        frame::read(&mut self.stream, FROM_GUARD)
    }

    /// Takes the descriptors.
    pub(crate) fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }
}

/// Does `what` with the work on a thread of this process.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn on_thread(
    what: fn(Work, Desk),
    work: Work,
    stream: UnixStream,
    descriptors: &[std::os::fd::BorrowedFd<'_>],
) -> std::io::Result<()> {
    let descriptors = descriptors
        .iter()
        .map(std::os::fd::BorrowedFd::try_clone_to_owned);
    let desk = Desk::new(stream, descriptors.collect::<std::io::Result<_>>()?);
    let thread = std::thread::Builder::new().name("reader".to_owned());
    thread.spawn(move || what(work, desk)).map(drop)
}
