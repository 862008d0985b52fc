//! The guard's end of the socket to one reader.

use std::{
    io,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::io::AsyncReadExt as _;

use super::{FROM_GUARD, FROM_READER, FrameError, ReaderError, Readers, frame};

/// How long a reader may be silent. It parses a file in milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);

/// How long a reader may let the guard wait in all, however often it says something.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(20);

/// The socket to a reader, which is ended with it.
#[derive(Debug)]
pub(crate) struct Line {
    stream: UnixStream,
    id: u64,
    readers: Readers,
    /// How long it was waited for the reader so far.
    waited: Duration,
    /// How long it may be waited for in all.
    patience: Duration,
}

impl Line {
    pub(super) fn new(stream: UnixStream, id: u64, readers: Readers) -> Result<Self, ReaderError> {
        let line = Self {
            stream,
            id,
            readers,
            waited: Duration::ZERO,
            patience: PATIENCE_IN_ALL,
        };
        let patience = Some(PATIENCE);
        let bounded = line.stream.set_read_timeout(patience);
        let bounded = bounded.and_then(|()| line.stream.set_write_timeout(patience));
        bounded.map_err(ReaderError::Start)?;
        Ok(line)
    }

    /// The same with less patience, or more.
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Says something to the reader.
    pub(crate) fn say<T: Serialize>(&mut self, message: &T) -> Result<(), ReaderError> {
        let said = frame::write(&mut self.stream, message, FROM_GUARD);
        said.map_err(|error| self.failure(error))
    }

    /// Hears what the reader says next.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Result<T, ReaderError> {
        let began = Instant::now();
        let left = self.patience.saturating_sub(self.waited);
        let mut patient = Patient {
            stream: &self.stream,
            until: began + left.min(PATIENCE),
        };
        let heard = frame::read(&mut patient, FROM_READER);
        self.waited += began.elapsed();
        heard.map_err(|error| self.failure(error))
    }

    /// Hears the one thing that the reader says, however long it takes; the caller has a deadline, and to
    /// drop this ends the reader.
    pub(crate) async fn hear_in_time<T: DeserializeOwned>(self) -> Result<T, ReaderError> {
        let heard = self.hear_async().await;
        heard.map_err(|error| self.failure(error))
    }

    async fn hear_async<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        let stream = self.stream.try_clone()?;
        stream.set_nonblocking(true)?;
        let mut stream = tokio::net::UnixStream::from_std(stream)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length).await?;
        let length = frame::length_of(length, FROM_READER)?;
        let mut bytes = Vec::new();
        let read = stream.take(length as u64).read_to_end(&mut bytes).await?;
        if read < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        frame::decode(&bytes)
    }

    /// That the reader has said what no reader says.
    pub(crate) fn wrong(&self, what: impl Into<String>) -> ReaderError {
        self.readers.count_failure();
        ReaderError::Wrong(what.into())
    }

    fn failure(&self, error: FrameError) -> ReaderError {
        self.readers.count_failure();
        match error {
            FrameError::Io(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ReaderError::Slow,
                _ => ReaderError::Ended,
            },
            other => ReaderError::Wrong(other.to_string()),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.readers.end(self.id);
    }
}

/// A stream that has to be done by a time, however little comes at once.
struct Patient<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl io::Read for Patient<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        (&mut &*self.stream).read(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn line() -> (Line, UnixStream) {
        let (ours, its) = UnixStream::pair().unwrap();
        (
            Line::new(ours, 0, crate::work::readers_on_threads()).unwrap(),
            its,
        )
    }

    #[test]
    fn a_reader_that_ends_or_talks_nonsense_has_failed() {
        let (mut line, reader) = line();
        drop(reader);
        assert!(matches!(line.hear::<u8>(), Err(ReaderError::Ended)));
        let (mut line, mut reader) = self::line();
        reader.write_all(&[0xff; 4]).unwrap();
        assert!(matches!(line.hear::<u8>(), Err(ReaderError::Wrong(_))));
        let (mut line, mut reader) = self::line();
        reader.write_all(&[1, 0, 0, 0, 7]).unwrap();
        assert_eq!(line.hear::<u8>().unwrap(), 7);
    }

    #[test]
    fn a_reader_that_talks_on_and_on_has_no_more_than_so_long() {
        let (mut line, mut reader) = line();
        line.waited = PATIENCE_IN_ALL;
        reader.write_all(&[1, 0, 0, 0, 7]).unwrap();
        assert!(matches!(line.hear::<u8>(), Err(ReaderError::Slow)));
    }

    #[test]
    fn a_reader_that_drips_is_slow_all_the_same() {
        let (ours, mut reader) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let dripping = std::thread::spawn(move || {
            while reader.write_all(&[7]).is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let mut patient = Patient {
            stream: &ours,
            until: Instant::now() + Duration::from_millis(100),
        };
        let drip = io::Read::read_exact(&mut patient, &mut vec![0; 1 << 20]);
        assert_eq!(drip.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(ours);
        dripping.join().unwrap();
    }
}
