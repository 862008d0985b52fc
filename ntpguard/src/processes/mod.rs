//! The time daemons that run on this host, as /proc has them.
//!
//! A name proves nothing: anybody can call a program `chronyd`. So [`time_daemons`] leaves out what
//! is not proven (`proof`) to be the system's.

mod accounts;
mod configured;
mod container;
mod evidence;
mod finding;
mod program;
mod proof;
mod scan;
mod users;

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use caps::{CapSet, Capability};

pub use self::{
    accounts::{Accounts, add_accounts},
    finding::Finding,
    program::Program,
};
use self::{
    evidence::{Entry, Surroundings},
    proof::{Doubt, Proven, Prover},
    scan::{Last, Scan},
};
pub(crate) use self::{program::is_conf, users::Users};

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

/// The time daemons that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// Those that are proven, by their process ids.
    pub daemons: Vec<TimeDaemon>,
    /// What keeps others from being so.
    pub findings: BTreeSet<Finding>,
    /// Why not all processes were looked at, if they were not: some daemons may be missing here.
    pub refused: Option<String>,
}

/// A running time daemon that is the system's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeDaemon {
    /// Its process id.
    pub pid: u32,
    /// Its program.
    pub program: Program,
    /// Its arguments, its name first, and without that of busybox before it.
    pub arguments: Vec<String>,
    /// The uids that it runs under, each once.
    pub uids: Vec<u32>,
    /// Its directory in /proc.
    directory: PathBuf,
    /// What it is in.
    surroundings: Surroundings,
    /// Whether its process or user namespace is another than this process's.
    is_apart: bool,
}

impl TimeDaemon {
    /// Reads the process that has this directory in /proc; `None` if it is no proven time daemon.
    pub fn read(directory: &Path) -> Option<Self> {
        let pid = directory.file_name()?.to_str()?.parse().ok()?;
        let table = Table::of(directory.parent()?);
        table.daemon(pid).ok()
    }

    /// The path of a file that it calls `name`.
    pub fn path_of(&self, name: &str) -> PathBuf {
        let directory = self.surroundings.directory.as_deref();
        let path = directory.unwrap_or(Path::new("/")).join(name);
        match self.own_root() {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(&path)),
            None => path,
        }
    }

    /// Its root directory as `/proc/PID/root` where it sees other configurations than this process
    /// does, as in a container. Services with private directories have mounts of their own, too, and
    /// see the same.
    pub fn own_root(&self) -> Option<PathBuf> {
        let differs = self.surroundings.sees_other_files;
        differs.then(|| self.directory.join("root"))
    }

    /// The text of its file `cgroup`, which has its cgroups (cgroups(7)).
    pub fn cgroups(&self) -> Option<String> {
        self.surroundings.cgroups.clone()
    }

    /// Whether it is in a container or a user's session, and not a service of this host. A service
    /// with mounts of its own is none: only root could make those.
    pub fn is_in_container(&self) -> bool {
        let cgroups = self.surroundings.cgroups.as_deref();
        self.is_apart || cgroups.is_some_and(container::holds)
    }
}

/// The time daemons that `proc` shows. One that people may have started, or that is in another of the
/// namespaces `shared` than this process, is none: its command line is not the system's word, and
/// neither are its requests. Where there are very many processes, a look at them counts for some seconds.
pub fn time_daemons(proc: &Path, shared: &[Namespace]) -> Processes {
    static LAST: Last = Last::new();
    if proc == Path::new("/proc") {
        LAST.get(|| Scan::of(proc)).within(shared)
    } else {
        Scan::of(proc).within(shared)
    }
}

/// The program that the file called `file` is with the command line of which this is the text, and its
/// arguments.
pub(crate) fn called(file: &str, command_line: &[u8]) -> Option<(Program, Vec<String>)> {
    let arguments = program::arguments(file, command_line);
    Program::of(file, &arguments).map(|program| (program, arguments))
}

/// The processes of a host.
struct Table<'a> {
    proc: &'a Path,
    prover: Prover,
    /// The namespaces of this process.
    ours: Vec<Option<PathBuf>>,
}

impl<'a> Table<'a> {
    fn of(proc: &'a Path) -> Self {
        let root = proc.parent().unwrap_or(Path::new("/"));
        let namespace =
            |namespace: Namespace| fs::read_link(proc.join("self/ns").join(namespace.file())).ok();
        Self {
            proc,
            prover: Prover {
                accounts: Accounts::of_host(root),
                users: Users::read(root),
            },
            ours: Namespace::ALL.into_iter().map(namespace).collect(),
        }
    }

    /// Whether /proc keeps other users' processes from this one (`hidepid=`): there is always a
    /// first process, and what it is called is no secret else.
    fn is_hidden(&self) -> bool {
        let first = fs::File::open(self.proc.join("1/status"));
        let is_kept = |error: io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            )
        };
        self.proc.join("self/status").exists() && first.is_err_and(is_kept)
    }

    /// Whether this process may not know which programs other accounts run.
    fn is_closed(&self) -> bool {
        let first = fs::read_link(self.proc.join("1/exe"));
        let is_denied = first.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        // A security module may keep the first process alone from those that have the capability.
        let may = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_PTRACE);
        is_denied && !may.unwrap_or(false)
    }

    /// The processes that may be time daemons, after a look at each that needs no memory of its.
    fn candidates(&self) -> io::Result<Vec<u32>> {
        let pids = fs::read_dir(self.proc)?.flatten().filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            self.may_be_daemon(&entry.path()).then_some(pid)
        });
        Ok(pids.collect())
    }

    fn may_be_daemon(&self, directory: &Path) -> bool {
        let owner = fs::metadata(directory).map(|found| found.uid());
        if !owner.is_ok_and(|owner| self.prover.may_run_daemons(owner)) {
            return false;
        }
        match fs::read_link(directory.join("exe")) {
            Ok(exe) => program::file_name(&exe).is_some(),
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
    }

    /// Proves that a process is a time daemon.
    fn daemon(&self, pid: u32) -> Result<TimeDaemon, Doubt> {
        let entry = Entry::open(self.proc, pid).map_err(|error| Doubt::of_gone(&error))?;
        let Proven {
            file,
            uids,
            surroundings,
            command_line,
        } = self.prover.prove(&entry)?;
        let (program, arguments) = called(file, &command_line).ok_or(Doubt::None)?;
        let apart = [Namespace::Process, Namespace::User];
        Ok(TimeDaemon {
            pid,
            program,
            arguments,
            uids: uids
                .into_iter()
                .collect::<BTreeSet<u32>>()
                .into_iter()
                .collect(),
            directory: self.proc.join(pid.to_string()),
            is_apart: !Namespace::are_shared(&self.ours, &surroundings.namespaces, &apart),
            surroundings,
        })
    }

    /// The namespaces of a process, in the order of [`Namespace::ALL`].
    fn namespaces_of(&self, pid: u32) -> io::Result<Vec<Option<PathBuf>>> {
        Entry::open(self.proc, pid)?.namespaces()
    }
}

impl Namespace {
    /// Every kind that matters here.
    const ALL: [Self; 3] = [Self::Network, Self::Process, Self::User];

    /// Whether a process with the namespaces `its` is in the same of these kinds as one with `ours`.
    fn are_shared(ours: &[Option<PathBuf>], its: &[Option<PathBuf>], shared: &[Self]) -> bool {
        let mut both = Self::ALL.into_iter().zip(ours.iter().zip(its));
        both.all(|(namespace, (ours, its))| !shared.contains(&namespace) || ours == its)
    }

    /// Its file in `/proc/PID/ns`.
    const fn file(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Process => "pid",
            Self::User => "user",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_none() {
        let me = std::process::id();
        let found = time_daemons(Path::new("/proc"), &[Namespace::Process]);
        assert!(found.daemons.iter().all(|daemon| daemon.pid != me));
    }
}
