//! Why a file was not read.

use std::io;

use rustix::io::Errno;
use thiserror::Error;

/// Why a file was not read.
#[derive(Debug, Error)]
pub(in super::super) enum FileError {
    #[error("there is no such file")]
    Missing,
    #[error("permission denied: let the user that ntpguard runs as read it")]
    Denied,
    #[error("not a regular file")]
    NotRegular,
    #[error("{0} bytes, over 1 MiB: that is no configuration file")]
    TooLarge(u64),
    #[error("binary, as it holds a NUL byte: that is no configuration file")]
    Binary,
    #[error("not followed: a link of /proc, or one that leads to itself, is on the way to it")]
    Link,
    #[error("cannot be read: {0}")]
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
