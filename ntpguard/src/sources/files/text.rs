//! What a file holds.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, Mode, OFlags, Stat};

use super::{FileError, MAX_BYTES};

/// Opens the file at `path`, of any size: not a pipe, at which it would be waited for a writer, nor a
/// device. A file system that hangs still makes this wait.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let found = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    accept_kind(&rustix::fs::fstat(&found)?).map_err(io::Error::other)?;
    open(&found)
}

/// Makes sure that what was found is a file, and none too large.
pub(super) fn accept(status: &Stat) -> Result<(), FileError> {
    accept_kind(status)?;
    let size = u64::try_from(status.st_size).unwrap_or(u64::MAX);
    if size > MAX_BYTES {
        return Err(FileError::TooLarge(size));
    }
    Ok(())
}

fn accept_kind(status: &Stat) -> Result<(), FileError> {
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(FileError::NotRegular),
    }
}

/// Reads what was found. Bytes that are not UTF-8 become U+FFFD: comments may be in any encoding.
pub(super) fn read(found: &OwnedFd) -> Result<String, FileError> {
    text(open(found)?)
}

/// Reads a pipe to its end. What was written to it is gone then.
pub(super) fn read_pipe(found: &OwnedFd) -> Result<String, FileError> {
    // Without O_NONBLOCK, opening would wait for a writer, who may be done already.
    let pipe = open(found)?;
    rustix::fs::fcntl_setfl(&pipe, OFlags::empty())?;
    text(pipe)
}

fn open(found: &OwnedFd) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    options.open(path_of(found))
}

/// The path by which what was found is opened, and nothing else.
pub(super) fn path_of(found: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", found.as_raw_fd()).into()
}

fn text(file: File) -> Result<String, FileError> {
    let mut bytes = Vec::new();
    // It may have grown since we looked.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge(bytes.len() as u64));
    }
    if bytes.contains(&0) {
        return Err(FileError::Binary);
    }
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
