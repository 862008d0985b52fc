//! What the kernel says of one process, read below one open directory of /proc: a process id that
//! is used again meanwhile leads to errors there, and not to another process.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{self, AtFlags, CWD, Mode, OFlags},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{Namespace, program};

/// The most that is read of a command line, in bytes: real ones have a few hundred.
pub(super) const MAX_COMMAND_LINE: usize = 64 << 10;

/// The most that is read of any other file of /proc, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// Others than the owner may write the file.
pub(super) const OTHERS_WRITE: u32 = 0o022;

/// Files of the directory are removed and renamed by their owners alone.
const STICKY: u32 = 0o1000;

/// What can be asked about a process.
pub(super) trait Evidence {
    /// The name that it has, or gives itself.
    fn comm(&self) -> io::Result<String>;

    /// Its real, effective, saved and file system uid.
    fn uids(&self) -> io::Result<[u32; 4]>;

    /// When it was started, in ticks after boot.
    fn started(&self) -> io::Result<u64>;

    /// The path of its program.
    fn exe(&self) -> io::Result<PathBuf>;

    /// The file of its program.
    fn program(&self) -> io::Result<ProgramFile>;

    /// The program at `exe`, or a directory above it, if others than root can write it.
    fn writable(&self, exe: &Path) -> io::Result<Option<PathBuf>>;

    /// What it is in.
    fn surroundings(&self) -> io::Result<Surroundings>;

    /// The text of its command line, of which one byte more than [`MAX_COMMAND_LINE`] is read.
    fn command_line(&self) -> io::Result<Vec<u8>>;

    /// Whether it still runs.
    fn is_alive(&self) -> bool;
}

/// A program as a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProgramFile {
    device: u64,
    inode: u64,
    owner: u32,
    mode: u32,
}

/// What a process is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// Its namespaces, by their numbers, in the order of [`Namespace::ALL`].
    pub(super) namespaces: Vec<Option<PathBuf>>,
    /// The text of its `cgroup`.
    pub(super) cgroups: Option<String>,
    /// Its working directory.
    pub(super) directory: Option<PathBuf>,
    /// Whether its `/etc` or `/run` is another than this process's.
    pub(super) sees_other_files: bool,
}

/// A process of the kernel's.
pub(super) struct Entry<'a> {
    proc: &'a Path,
    /// Its directory in /proc.
    directory: OwnedFd,
    /// What tells of its end; nothing in a test's tree, of which no process runs.
    life: Option<OwnedFd>,
}

impl<'a> Entry<'a> {
    /// Takes hold of a process, and then opens its directory: if the process lives at the end, the
    /// directory is its.
    pub(super) fn open(proc: &'a Path, pid: u32) -> io::Result<Self> {
        let life = is_kernels(proc).then(|| hold(pid)).transpose()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = fs::openat(CWD, proc.join(pid.to_string()), flags, Mode::empty())?;
        Ok(Self {
            proc,
            directory,
            life,
        })
    }

    /// The first `most` bytes of one of its files.
    fn read(&self, name: &str, most: usize) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = fs::openat(&self.directory, name, flags, Mode::empty())?;
        let mut bytes = Vec::new();
        File::from(file).take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn text(&self, name: &str) -> io::Result<String> {
        let bytes = self.read(name, MAX_TEXT)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Its namespaces, in the order of [`Namespace::ALL`].
    pub(super) fn namespaces(&self) -> io::Result<Vec<Option<PathBuf>>> {
        let file = |namespace: Namespace| format!("ns/{}", namespace.file());
        Namespace::ALL
            .into_iter()
            .map(|namespace| absent(link(&self.directory, &file(namespace))))
            .collect()
    }

    /// Whether `name` below its root directory is the same as below ours.
    fn shares(&self, name: &str) -> io::Result<bool> {
        let ours = self.proc.parent().unwrap_or(Path::new("/")).join(name);
        let ours = identity(fs::stat(ours))?;
        let its = fs::statat(&self.directory, format!("root/{name}"), AtFlags::empty());
        Ok(identity(its)? == ours)
    }
}

impl Evidence for Entry<'_> {
    fn comm(&self) -> io::Result<String> {
        Ok(self.text("comm")?.trim_end_matches('\n').to_owned())
    }

    fn uids(&self) -> io::Result<[u32; 4]> {
        uids(&self.text("status")?).ok_or_else(nonsense)
    }

    fn started(&self) -> io::Result<u64> {
        started(&self.text("stat")?).ok_or_else(nonsense)
    }

    fn exe(&self) -> io::Result<PathBuf> {
        link(&self.directory, "exe")
    }

    fn program(&self) -> io::Result<ProgramFile> {
        let found = fs::statat(&self.directory, "exe", AtFlags::empty())?;
        Ok(ProgramFile::of(&found))
    }

    fn writable(&self, exe: &Path) -> io::Result<Option<PathBuf>> {
        if !self.program()?.is_roots() {
            return Ok(Some(exe.to_owned()));
        }
        let mount = |process: &str| fs::readlinkat(CWD, self.proc.join(process), Vec::new()).ok();
        let its = fs::readlinkat(&self.directory, "ns/mnt", Vec::new()).ok();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = if its == mount("self/ns/mnt") {
            fs::openat(CWD, "/", flags, Mode::empty())?
        } else {
            fs::openat(&self.directory, "root", flags, Mode::empty())?
        };
        writable_directory(root, exe)
    }

    fn surroundings(&self) -> io::Result<Surroundings> {
        let has_root = absent(link(&self.directory, "root"))?.is_some();
        Ok(Surroundings {
            namespaces: self.namespaces()?,
            cgroups: absent(self.text("cgroup"))?,
            directory: absent(link(&self.directory, "cwd"))?,
            sees_other_files: has_root && !(self.shares("etc")? && self.shares("run")?),
        })
    }

    fn command_line(&self) -> io::Result<Vec<u8>> {
        self.read("cmdline", MAX_COMMAND_LINE + 1)
    }

    fn is_alive(&self) -> bool {
        let Some(life) = &self.life else {
            return true;
        };
        let mut ended = [PollFd::new(life, PollFlags::IN)];
        poll(&mut ended, Some(&Timespec::default())) == Ok(0)
    }
}

impl ProgramFile {
    fn of(found: &fs::Stat) -> Self {
        Self {
            device: found.st_dev,
            inode: found.st_ino,
            owner: found.st_uid,
            mode: found.st_mode,
        }
    }

    #[cfg(test)]
    pub(super) const fn test(inode: u64, owner: u32, mode: u32) -> Self {
        Self {
            device: 1,
            inode,
            owner,
            mode,
        }
    }

    /// Whether root alone can write it.
    pub(super) const fn is_roots(self) -> bool {
        self.owner == 0 && self.mode & OTHERS_WRITE == 0
    }
}

/// What tells of the end of a process.
fn hold(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(pidfd_open(pid.ok_or_else(nonsense)?, PidfdFlags::empty())?)
}

/// Whether processes stand behind `proc`: in a unit test's tree none do.
fn is_kernels(proc: &Path) -> bool {
    !cfg!(test) || proc == Path::new("/proc")
}

/// A directory above `exe`, from `root` on, in which others than root can change what is there. In a
/// sticky one of root's that is so of other users' names alone.
fn writable_directory(root: OwnedFd, exe: &Path) -> io::Result<Option<PathBuf>> {
    let mut directory = root;
    let mut path = PathBuf::from("/");
    for name in exe.parent().into_iter().flat_map(Path::components) {
        if let Component::Normal(name) = name {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            directory = fs::openat(&directory, name, flags, Mode::empty())?;
            path.push(name);
        }
        let found = fs::fstat(&directory)?;
        let writable = found.st_mode & OTHERS_WRITE != 0 && found.st_mode & STICKY == 0;
        if found.st_uid != 0 || writable {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn link(directory: impl AsFd, name: &str) -> io::Result<PathBuf> {
    let target = fs::readlinkat(directory, name, Vec::new())?;
    Ok(OsStr::from_bytes(target.as_bytes()).into())
}

/// `None` for what is not there.
fn absent<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn identity(found: rustix::io::Result<fs::Stat>) -> io::Result<Option<(u64, u64)>> {
    let found = absent(found.map_err(io::Error::from))?;
    Ok(found.map(|found| (found.st_dev, found.st_ino)))
}

fn nonsense() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The four uids in the text of a `status` (`proc_pid_status(5)`).
fn uids(status: &str) -> Option<[u32; 4]> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let uids: Option<Vec<u32>> = line
        .split_whitespace()
        .map(|uid| uid.parse().ok())
        .collect();
    uids?.try_into().ok()
}

/// Field 22 of the text of a `stat` (`proc_pid_stat(5)`). The second is a name in parentheses, which
/// may itself have parentheses and spaces.
fn started(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

/// The file name of a program that cannot be looked at, by the name that its process has.
pub(super) fn file_by_comm(process: &impl Evidence) -> Option<&'static str> {
    program::file_of_comm(&process.comm().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_found_behind_any_name() {
        let after = "S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 9 9\n";
        for name in ["chronyd", "a b", ") R 1 1", "()", "x) S 9 9 9 9 9 9 9 9"] {
            assert_eq!(
                started(&format!("7 ({name}) {after}")),
                Some(4711),
                "{name}"
            );
        }
        assert_eq!(started("7 (chronyd) S 1"), None);
        assert_eq!(started(""), None);
    }

    #[test]
    fn there_are_four_uids() {
        assert_eq!(
            uids("Name:\tUid:\t1\nUid:\t0\t102\t103\t104\n"),
            Some([0, 102, 103, 104])
        );
        assert_eq!(uids("Uid:\t0\t0\t0\n"), None);
        assert_eq!(uids("Name:\tntpd\n"), None);
    }

    #[test]
    fn this_process_is_seen_as_it_is() {
        let entry = Entry::open(Path::new("/proc"), std::process::id()).expect("an entry");
        let uid = rustix::process::getuid().as_raw();
        assert_eq!(entry.uids().expect("uids")[0], uid);
        assert_eq!(
            entry.exe().expect("a program"),
            std::env::current_exe().expect("a program")
        );
        assert!(entry.started().expect("a start") > 0);
        assert!(entry.is_alive());
        let surroundings = entry.surroundings().expect("surroundings");
        assert!(!surroundings.sees_other_files);
        assert!(surroundings.namespaces.iter().all(Option::is_some));
    }

    #[test]
    fn a_process_that_has_ended_is_not_alive() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("a process");
        let entry = Entry::open(Path::new("/proc"), child.id()).expect("an entry");
        assert!(entry.is_alive());
        child.kill().expect("killed");
        child.wait().expect("its end");
        assert!(!entry.is_alive());
        assert!(entry.uids().is_err());
    }
}
