//! Why a file was not read.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

/// Why a file was not read.
#[derive(Debug, Error)]
pub enum FileError {
    /// There is none.
    #[error("no such file")]
    Missing,
    /// This process may not read it.
    #[error("permission denied: make it readable for ntpguard's user")]
    Denied,
    /// It is a directory, a device or the like.
    #[error("not a regular file")]
    NotRegular,
    /// It has this many bytes.
    #[error("{0} bytes, over 1 MiB: not a configuration file")]
    TooLarge(u64),
    /// It holds a NUL byte.
    #[error("it contains a NUL byte: not a configuration file")]
    Binary,
    /// A link on the way is not followed.
    #[error("not followed: its path has a link of /proc, or one that leads to itself")]
    Link,
    /// It is others' word, and this reading is of root's alone.
    #[error("read separately from root's files")]
    Withheld,
    /// Anything else.
    #[error("cannot read it: {0}")]
    Io(io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Self::Link,
            _ => Self::Io(error),
        }
    }
}

impl From<Errno> for FileError {
    fn from(error: Errno) -> Self {
        io::Error::from(error).into()
    }
}
