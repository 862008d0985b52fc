//! Reads of configuration files that no file can make long, large or blocking, and none from
//! elsewhere than its reader may look.
//!
//! The kernel resolves each path at once (openat2(2)), and what was opened is what is checked and
//! read. [`writers`] finds whose word a file is.

mod error;
pub(super) mod library;
mod looks;
mod pattern;
mod root;
#[cfg(test)]
mod tests;
mod text;
mod writers;

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustix::{
    fd::AsFd,
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

pub use self::root::OtherRoot;
pub(crate) use self::text::open_regular;
pub(super) use self::{
    error::FileError,
    looks::Looks,
    pattern::{Matches, directory_of_pattern, has_wildcard},
};
use self::{root::own_root, writers::Writer};
use super::{Library, Speaker};

/// The largest file that is read, in bytes. Real ones have a few thousand.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// A file's device and inode, the same whatever path leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(pub(super) u64, pub(super) u64);

impl Identity {
    fn of(status: &Stat) -> Self {
        Self(status.st_dev, status.st_ino)
    }
}

/// The right of others than the owner and the group to read.
const OTHERS_READ: u32 = 0o004;

/// Most entries of a directory that are looked at.
const MAX_ENTRIES: usize = 1 << 16;

/// How often a path is resolved again that changed meanwhile.
const ATTEMPTS: usize = 8;

/// The files of one configuration: where they are opened, and whose word they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Where paths begin and end, unless that is the root of this process.
    root: Option<Arc<OtherRoot>>,
    /// The file that was named by hand, which is root's word wherever it is.
    by_hand: Option<Arc<ByHand>>,
    /// Whose configuration it is.
    speaker: Speaker,
}

/// A file that was named by hand.
#[derive(Debug)]
struct ByHand {
    path: PathBuf,
    /// What came out of it where it is a pipe of this process, as in `--source <(…)`: that can be read
    /// once.
    piped: OnceLock<String>,
}

impl PartialEq for ByHand {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for ByHand {}

/// A file's text, and whose word it is.
#[derive(Debug)]
pub struct Opened {
    /// Which file it is.
    pub identity: Identity,
    /// What it holds.
    pub text: String,
    /// Whose word it is by itself.
    pub speaker: Speaker,
    /// Whether any user of its host may read it.
    pub is_open: bool,
    /// Who can write it besides root, but for networkd in its own directory.
    pub writer: Option<String>,
}

impl Files {
    /// Those of this host.
    pub fn of_host(speaker: Speaker) -> Self {
        Self {
            root: None,
            by_hand: None,
            speaker,
        }
    }

    /// Those of the configuration whose main file, or pipe, is named by hand.
    pub fn by_hand(main: &Path, speaker: Speaker) -> Self {
        let root = own_root(main).and_then(|root| OtherRoot::open(root).ok());
        Self {
            root: root.map(Arc::new),
            by_hand: Some(Arc::new(ByHand {
                path: main.to_owned(),
                piped: OnceLock::new(),
            })),
            speaker,
        }
    }

    /// Those below the root directory of another process.
    pub fn below(root: Arc<OtherRoot>, speaker: Speaker) -> Self {
        Self {
            root: Some(root),
            by_hand: None,
            speaker,
        }
    }

    /// The same as another's.
    pub(super) fn said_by(self, speaker: Speaker) -> Self {
        Self { speaker, ..self }
    }

    /// Who besides root can change what is at `path`, if somebody can and it matters.
    fn writer(&self, path: &Path, status: &Stat) -> Option<Writer> {
        if self.speaker == Speaker::Container || self.is_named(path).is_some() {
            return None;
        }
        let walked = match &self.root {
            Some(root) => writers::of(&root.directory, Self::path_in(root, path)?, status),
            None => root_of_host().and_then(|root| {
                let path = std::path::absolute(path)?;
                writers::of(&root, &path, status)
            }),
        };
        walked.unwrap_or_else(|_| Some(Writer::unknown(path)))
    }

    /// As [`Library::entries`], with no more looks than these.
    pub(super) fn entries_within(
        &self,
        directory: &Path,
        suffix: &str,
        most: usize,
        looks: &Looks,
    ) -> Result<Vec<PathBuf>, FileError> {
        let is_wanted = |name: &OsStr| {
            let name = name.as_bytes();
            name.ends_with(suffix.as_bytes()) && !name.starts_with(b".")
        };
        let mut found: Vec<OsString> = self.names(directory, looks)?;
        found.retain(|name| is_wanted(name));
        found.sort_unstable();
        found.truncate(most);
        Ok(found.iter().map(|name| directory.join(name)).collect())
    }

    /// As [`Library::glob`], with no more looks than these.
    pub(super) fn glob_within(
        &self,
        pattern: &Path,
        most: usize,
        looks: &Looks,
    ) -> Result<Matches, String> {
        self.find_all(pattern, most, looks)
            .map_err(|error| error.msg.to_owned())
    }

    /// The names in a directory, in no order, as far as there may be more looks.
    fn names(&self, directory: &Path, looks: &Looks) -> Result<Vec<OsString>, FileError> {
        if !looks.take() {
            return Ok(Vec::new());
        }
        let found = self.find(directory)?;
        let entries = fs::read_dir(text::path_of(&found))?.take(MAX_ENTRIES);
        let entries = entries.take_while(|_| looks.take());
        let names = entries.map(|entry| Ok(entry?.file_name()));
        names.collect()
    }

    /// Which file is at `path`.
    pub(super) fn identity(&self, path: &Path) -> Option<Identity> {
        let status = rustix::fs::fstat(self.find(path).ok()?).ok()?;
        Some(Identity::of(&status))
    }

    fn kind(&self, path: &Path) -> Option<(FileType, u64)> {
        let status = rustix::fs::fstat(self.find(path).ok()?).ok()?;
        Some((FileType::from_raw_mode(status.st_mode), status.st_rdev))
    }

    /// Finds what is at `path` without opening it: that can already do something to a device or to
    /// those who wait at a pipe.
    fn find(&self, path: &Path) -> Result<OwnedFd, FileError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let Some(root) = &self.root else {
            if self.is_named(path).is_some() {
                return Ok(rustix::fs::open(path, flags, Mode::empty())?);
            }
            return Ok(resolve(CWD, path, flags, ResolveFlags::NO_MAGICLINKS)?);
        };
        let below = Self::path_in(root, path).ok_or(FileError::Missing)?;
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(resolve(&root.directory, below, flags, within)?)
    }

    /// The file named by hand, if it is that at `path`.
    fn is_named(&self, path: &Path) -> Option<&ByHand> {
        self.by_hand.as_deref().filter(|named| named.path == path)
    }

    /// The path of a file within the other root.
    fn path_in<'a>(root: &OtherRoot, path: &'a Path) -> Option<&'a Path> {
        let below = path.strip_prefix(root.path()).ok()?;
        Some(if below.as_os_str().is_empty() {
            Path::new(".")
        } else {
            below
        })
    }
}

impl Library for Files {
    fn speaker(&self) -> Speaker {
        self.speaker
    }

    fn root(&self) -> Option<&Path> {
        self.root.as_ref().map(|root| root.path())
    }

    fn read(&self, path: &Path) -> Result<Opened, FileError> {
        let found = self.find(path)?;
        let status = rustix::fs::fstat(&found)?;
        let text = match self.is_named(path) {
            Some(named) if is_own_pipe(path, &status) => named.read_pipe(&found)?,
            _ => {
                text::accept(&status)?;
                text::read(&found)?
            }
        };
        let writer = self.writer(path, &status);
        let speaker = match &writer {
            _ if self.speaker == Speaker::Container => Speaker::Container,
            Some(_) => Speaker::Others,
            None => Speaker::Root,
        };
        Ok(Opened {
            identity: Identity::of(&status),
            text,
            speaker,
            is_open: status.st_mode & OTHERS_READ != 0,
            writer: writer
                .filter(|writer| !writer.is_networkd())
                .map(|writer| writer.to_string()),
        })
    }

    fn entries(
        &self,
        directory: &Path,
        suffix: &str,
        most: usize,
    ) -> Result<Vec<PathBuf>, FileError> {
        self.entries_within(directory, suffix, most, &Looks::endless())
    }

    fn glob(&self, pattern: &Path, most: usize) -> Result<Matches, String> {
        self.glob_within(pattern, most, &Looks::endless())
    }

    fn exists(&self, path: &Path) -> bool {
        self.find(path).is_ok()
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.kind(path)
            .is_some_and(|(kind, _)| kind == FileType::Directory)
    }

    fn is_null(&self, path: &Path) -> bool {
        let null = rustix::fs::makedev(1, 3);
        self.kind(path) == Some((FileType::CharacterDevice, null))
    }

    fn real(&self, path: &Path) -> Option<PathBuf> {
        path.canonicalize().ok()
    }
}

impl ByHand {
    fn read_pipe(&self, found: &OwnedFd) -> Result<String, FileError> {
        if let Some(text) = self.piped.get() {
            return Ok(text.clone());
        }
        let text = text::read_pipe(found)?;
        Ok(self.piped.get_or_init(|| text).clone())
    }
}

fn root_of_host() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/", flags, Mode::empty())?)
}

/// Whether `path` leads to a pipe that this process has open, as /dev/stdin and /dev/fd/63 may. Any
/// other could make a reader wait.
fn is_own_pipe(path: &Path, status: &Stat) -> bool {
    let resolve = || resolve(CWD, path, OFlags::PATH, ResolveFlags::NO_MAGICLINKS);
    FileType::from_raw_mode(status.st_mode) == FileType::Fifo
        && matches!(resolve(), Err(Errno::LOOP))
}

/// Has the kernel resolve a path; one that is being moved meanwhile, again.
fn resolve(
    directory: impl AsFd,
    path: &Path,
    flags: OFlags,
    how: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let mut attempts = 0;
    loop {
        let found = rustix::fs::openat2(&directory, path, flags, Mode::empty(), how);
        attempts += 1;
        if !matches!(found, Err(Errno::AGAIN)) || attempts == ATTEMPTS {
            return found;
        }
    }
}
