//! What readers do: each kind of work is that of the room whose words are parsed.

use std::io;

use crate::{
    confine::Work,
    query,
    readers::{Desk, FrameError, Readers},
    resolve, sources,
};

/// Forks the process that starts readers. This process must have one thread.
///
/// # Errors
/// There are more threads, or the kernel makes no socket or process.
pub fn start_readers() -> io::Result<Readers> {
    Readers::start(perform)
}

/// Readers on threads of this process, which nothing holds back.
#[cfg(any(test, feature = "fuzzing"))]
pub fn readers_on_threads() -> Readers {
    Readers::doing(|work, desk| drop(perform(work, desk)))
}

/// Does the work. Where it fails, the guard finds the socket closed.
fn perform(work: Work, desk: Desk) -> Result<(), FrameError> {
    match work {
        Work::Texts => sources::apart::work(desk),
        Work::Answers => query::apart::work(desk),
        Work::Names => resolve::client::work(desk),
    }
}
