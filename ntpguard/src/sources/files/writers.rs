//! Who besides root can change a file: whoever can write it, or any directory or link on the way to it.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fmt, io,
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Component, Path, PathBuf},
};

use nix::unistd::User;
use rustix::fs::{FileType, Mode, OFlags, Stat};

/// Most symbolic links on one way, as in the kernel.
const MAX_LINKS: usize = 40;

/// A right to write of the group and of others.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
/// In such a directory only a name's owner can remove or replace it.
const STICKY: u32 = 0o1000;

/// Where networkd keeps what it knows of links, and the account that it writes that as.
const NETWORKD: (&str, &str) = ("/run/systemd/netif", "systemd-network");

/// The access control list of a file, in the kernel's name.
const ACL: &str = "system.posix_acl_access";

/// Something on the way to a file that others than root can change.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Writer {
    /// The file, or the directory on the way to it.
    path: PathBuf,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// It is another user's.
    Owner(u32),
    /// Its mode lets others write.
    Mode(u32),
    /// In a directory where all may write, the name is another user's.
    Name(u32),
    /// It could not be found out, as while the path was being changed.
    Unknown,
}

impl Writer {
    /// Of a file whose way could not be followed.
    pub(super) fn unknown(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            what: What::Unknown,
        }
    }

    /// Whether it is networkd, in its own directory: a part of the system that says which servers
    /// DHCP named.
    pub(in super::super) fn is_networkd(&self) -> bool {
        let (directory, account) = NETWORKD;
        let What::Owner(uid) = self.what else {
            return false;
        };
        let account = || User::from_name(account).ok().flatten();
        self.path.starts_with(directory) && account().is_some_and(|user| user.uid.as_raw() == uid)
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.what {
            What::Owner(uid) => write!(f, "{path} belongs to user {uid}"),
            What::Mode(mode) => write!(f, "{path} has mode {:04o}", mode & 0o7777),
            What::Name(uid) => write!(f, "{path} is a link or file of user {uid}"),
            What::Unknown => write!(f, "the path {path} cannot be followed"),
        }
    }
}

/// Who can change what is at `path` below `root`, which `found` describes; `None` if only root can.
pub(super) fn of(root: impl AsFd, path: &Path, found: &Stat) -> io::Result<Option<Writer>> {
    let mut way = Way::from(root)?;
    way.ahead(path);
    while let Some(name) = way.pending.pop_front() {
        if let Some(writer) = way.step(&name)? {
            return Ok(Some(writer));
        }
    }
    let last = way.last();
    if (last.status.st_dev, last.status.st_ino) != (found.st_dev, found.st_ino) {
        return Ok(Some(Writer::unknown(path)));
    }
    Ok(last.writer(&way.path()))
}

/// A directory on the way, or the file at its end.
struct Step {
    name: OsString,
    file: OwnedFd,
    status: Stat,
}

/// The way to a file, as far as it was followed.
struct Way {
    /// The root and the directories below it, without links.
    steps: Vec<Step>,
    /// The names that are still to be followed; `/` leads back to the root.
    pending: VecDeque<OsString>,
    links: usize,
}

impl Way {
    fn from(root: impl AsFd) -> io::Result<Self> {
        let root = Step::into(&root, OsStr::new("."))?;
        Ok(Self {
            steps: vec![root],
            pending: VecDeque::new(),
            links: 0,
        })
    }

    /// Has `path` followed before what else there is to follow.
    fn ahead(&mut self, path: &Path) {
        for component in path.components().rev() {
            if component != Component::CurDir {
                self.pending.push_front(component.as_os_str().to_owned());
            }
        }
    }

    /// Follows one name; says who can change it in its directory.
    fn step(&mut self, name: &OsStr) -> io::Result<Option<Writer>> {
        match name.as_bytes() {
            b"/" => self.steps.truncate(1),
            b".." if self.steps.len() > 1 => drop(self.steps.pop()),
            b".." => {}
            _ => return self.enter(name),
        }
        Ok(None)
    }

    fn enter(&mut self, name: &OsStr) -> io::Result<Option<Writer>> {
        let directory = self.last();
        let next = Step::into(&directory.file, name)?;
        let writer = match directory.writer(&self.path()) {
            // What root made there nobody else can replace.
            Some(writer) if directory.is_sticky_of_root() => next.owner().map(|uid| Writer {
                path: writer.path.join(name),
                what: What::Name(uid),
            }),
            writer => writer,
        };
        if FileType::from_raw_mode(next.status.st_mode) == FileType::Symlink {
            self.links += 1;
            if self.links > MAX_LINKS {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let target = rustix::fs::readlinkat(&next.file, "", Vec::new())?;
            self.ahead(Path::new(&OsString::from_vec(target.into_bytes())));
        } else {
            self.steps.push(next);
        }
        Ok(writer)
    }

    fn last(&self) -> &Step {
        // The root is never taken out.
        &self.steps[self.steps.len() - 1]
    }

    /// The path so far.
    fn path(&self) -> PathBuf {
        let names = self.steps.iter().skip(1).map(|step| &step.name);
        Path::new("/").join(names.collect::<PathBuf>())
    }
}

impl Step {
    fn into(directory: impl AsFd, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
        let status = rustix::fs::fstat(&file)?;
        Ok(Self {
            name: name.to_owned(),
            file,
            status,
        })
    }

    /// Its owner, unless that is root.
    fn owner(&self) -> Option<u32> {
        (self.status.st_uid != 0).then_some(self.status.st_uid)
    }

    /// Who can write it besides root: it is at `path`.
    fn writer(&self, path: &Path) -> Option<Writer> {
        let mode = self.status.st_mode;
        let by_mode = || {
            let of_group = mode & GROUP_WRITES != 0 && self.is_of_a_group();
            (of_group || mode & OTHERS_WRITE != 0).then_some(What::Mode(mode))
        };
        let what = self.owner().map(What::Owner).or_else(by_mode)?;
        Some(Writer {
            path: path.to_owned(),
            what,
        })
    }

    /// Whether what its mode grants the group is granted to others than root's. With an access
    /// control list that is the most that the list grants anyone.
    fn is_of_a_group(&self) -> bool {
        let has_list = || {
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            rustix::fs::getxattr(path, ACL, &mut [0_u8; 0]).is_ok_and(|length| length > 0)
        };
        self.status.st_gid != 0 || has_list()
    }

    fn is_sticky_of_root(&self) -> bool {
        self.status.st_uid == 0 && self.status.st_mode & STICKY != 0
    }
}
