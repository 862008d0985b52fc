//! The time daemons that run on this host, as /proc tells of them.
//!
//! A name proves nothing: anybody can call a program `chronyd`. So [`time_daemons`] leaves out what
//! people may have started.

mod program;

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

pub use self::program::Program;
pub(crate) use self::program::is_conf;

/// Others than the owner may write the file.
const OTHERS_WRITE: u32 = 0o022;

/// The first uid of people; system accounts are below it (`UID_MIN` of login.defs).
const FIRST_HUMAN: u32 = 1_000;

/// A kind of namespace that a process is in (namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Its interfaces: in another, its packets pass other ones.
    Network,
    /// Its processes: in another it is in a container.
    Process,
    /// Its users: in another, root there may be anybody here.
    User,
}

/// A running time daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeDaemon {
    /// Its process id.
    pub pid: u32,
    /// Its program.
    pub program: Program,
    /// Its arguments, its name first, and without that of busybox before it.
    pub arguments: Vec<String>,
    /// Its directory in /proc.
    directory: PathBuf,
}

impl TimeDaemon {
    /// Reads a process from its directory in /proc; `None` if it is no time daemon, or gone.
    pub fn read(directory: &Path) -> Option<Self> {
        let pid = directory.file_name()?.to_str()?.parse().ok()?;
        let exe = fs::read_link(directory.join("exe")).ok()?;
        let file = program::file_name(&exe)?;
        let cmdline = fs::read(directory.join("cmdline")).ok()?;
        let arguments = program::arguments(file, &cmdline);
        Some(Self {
            pid,
            program: Program::of(file, &arguments)?,
            arguments,
            directory: directory.to_owned(),
        })
    }

    /// The path of a file that it calls `name`.
    pub fn path_of(&self, name: &str) -> PathBuf {
        let cwd = fs::read_link(self.directory.join("cwd"));
        let path = cwd.unwrap_or_else(|_| "/".into()).join(name);
        match self.own_root() {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(&path)),
            None => path,
        }
    }

    /// Its root directory as `/proc/PID/root` where it sees other configurations than this process
    /// does, as in a container. Services with private directories have mounts of their own, too, and
    /// see the same.
    pub fn own_root(&self) -> Option<PathBuf> {
        let ours = self.directory.ancestors().nth(2)?;
        let root = self.directory.join("root");
        let identity = |directory: PathBuf| {
            fs::metadata(directory)
                .ok()
                .map(|metadata| (metadata.dev(), metadata.ino()))
        };
        let is_same = |name| identity(ours.join(name)) == identity(root.join(name));
        let differs = root.exists() && !["etc", "run"].into_iter().all(is_same);
        differs.then_some(root)
    }

    /// The text of its file `cgroup`, which tells its cgroups (cgroups(7)).
    pub fn cgroups(&self) -> Option<String> {
        fs::read_to_string(self.directory.join("cgroup")).ok()
    }

    /// The uids that it runs under, each once; none if it is gone.
    pub fn uids(&self) -> Vec<u32> {
        let status = fs::read_to_string(self.directory.join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        let words = line.unwrap_or_default().split_whitespace();
        let mut uids: Vec<u32> = words.filter_map(|uid| uid.parse().ok()).collect();
        uids.sort_unstable();
        uids.dedup();
        uids
    }

    /// Whether its program is a file of root's that nobody else can write, and runs for root or a
    /// system account: nobody else chose what it does.
    fn is_of_the_system(&self) -> bool {
        let program = fs::metadata(self.directory.join("exe"));
        let status = fs::read_to_string(self.directory.join("status"));
        let of_root = |file: Metadata| file.uid() == 0 && file.mode() & OTHERS_WRITE == 0;
        program.is_ok_and(of_root)
            && status.is_ok_and(|status| uid(&status).is_some_and(|uid| uid < FIRST_HUMAN))
    }
}

/// The time daemons that `proc` shows, by their process ids. One that people may have started, or
/// that is in another of the namespaces `shared` than this process, is none: its command line is
/// somebody else's word, and so are its requests.
pub fn time_daemons(proc: &Path, shared: &[Namespace]) -> Vec<TimeDaemon> {
    let of = |process: &Path| -> Vec<Option<PathBuf>> {
        let files = shared.iter().map(|namespace| namespace.file());
        files
            .map(|file| fs::read_link(process.join("ns").join(file)).ok())
            .collect()
    };
    let ours = of(&proc.join("self"));
    let Ok(entries) = fs::read_dir(proc) else {
        return Vec::new();
    };
    let mut found: Vec<TimeDaemon> = entries
        .flatten()
        .filter_map(|entry| TimeDaemon::read(&entry.path()))
        .filter(|daemon| of(&daemon.directory) == ours && daemon.is_of_the_system())
        .collect();
    found.sort_by_key(|daemon| daemon.pid);
    found
}

impl Namespace {
    /// Its file in `/proc/PID/ns`.
    const fn file(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Process => "pid",
            Self::User => "user",
        }
    }
}

/// The effective uid in the text of a `/proc/PID/status`.
fn uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_uid_counts() {
        assert_eq!(uid("Name:\tntpd\nUid:\t0\t102\t102\t102\n"), Some(102));
        assert_eq!(uid("Name:\tntpd\n"), None);
    }

    #[test]
    fn this_process_is_none() {
        let me = std::process::id();
        let found = time_daemons(Path::new("/proc"), &[Namespace::Process]);
        assert!(found.iter().all(|daemon| daemon.pid != me));
    }
}
