//! What the processes give up that parse: everything but memory and the sockets they were given.

use std::{
    fs::OpenOptions,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, LandlockStatus, Ruleset,
    RulesetAttr as _, RulesetError, RulesetStatus, Scope,
};
use nix::{
    libc,
    sys::{
        prctl,
        resource::{Resource, setrlimit},
    },
};

use super::{
    Work, capabilities,
    inherited::{close_all_but, forget_environment},
    system_calls,
};

/// What holds the starter back, and with it all readers.
#[derive(Debug)]
pub(crate) struct Apart {
    /// The version of Landlock that keeps files from it.
    pub(crate) landlock: Option<u32>,
    /// What could not be given up.
    pub(crate) missing: Vec<String>,
    /// Whether its system calls are filtered.
    pub(crate) is_filtered: bool,
}

/// The newest Landlock whose rights are given up where the kernel has them.
const NEWEST: ABI = ABI::V6;

/// The most memory of its own that a reader may have, in bytes.
const MAX_MEMORY: u64 = 128 << 20;
/// The most time of a CPU, in seconds: the guard's patience is shorter, unless it is gone.
const MAX_SECONDS: u64 = 60;
/// The same for one that asks DNS: an answer takes milliseconds, but a server may say much else.
const MAX_SECONDS_OF_NAMES: u64 = 3;
/// How far what parses stands back behind all other processes, where a CPU has more to do than it can. Not the
/// farthest: on a busy host the guard's patience would be over before a file is read.
const NICENESS: i32 = 10;
/// The most descriptors.
const MAX_FILES: u64 = 64;

/// Closes every descriptor but `kept`, has the standard ones lead nowhere, and forgets the environment.
pub(crate) fn keep_only(kept: &OwnedFd) -> io::Result<()> {
    const NOWHERE: &str = "/dev/null";
    forget_environment();
    let null = OpenOptions::new().read(true).write(true).open(NOWHERE);
    let null = null.map_err(|error| io::Error::new(error.kind(), format!("{NOWHERE}: {error}")))?;
    for standard in 0..=2 {
        // SAFETY: both are numbers of descriptors, and no value here owns the standard ones.
        if unsafe { libc::dup2(null.as_raw_fd(), standard) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    drop(null);
    close_all_but(&[kept.as_raw_fd()])
}

/// Confines the starter; what the kernel does not have is missing, and the rest is in force.
pub(crate) fn starter() -> Apart {
    let mut missing: Vec<String> = capabilities::drop_all()
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut note = |what: &str, error: &dyn std::fmt::Display| {
        missing.push(format!("{what}: {error}"));
    };
    if let Err(error) = prctl::set_no_new_privs() {
        note("cannot refuse new privileges", &error);
    }
    if let Err(error) = prctl::set_dumpable(false) {
        note("other processes can read its memory", &error);
    }
    let landlock = close_files().unwrap_or_else(|error| {
        note("Landlock does not deny access to files", &error);
        None
    });
    if landlock.is_none() {
        note("files", &"the kernel has no Landlock");
    }
    if let Err(error) = rustix::process::nice(NICENESS) {
        note("it is as urgent as the guard", &error);
    }
    let filtered = system_calls::allow_starting();
    if let Err(error) = &filtered {
        note("the kernel cannot filter system calls", error);
    }
    Apart {
        landlock,
        missing,
        is_filtered: filtered.is_ok(),
    }
}

/// Confines a reader beyond what its starter gave up. What cannot be had the starter has found missing.
pub(crate) fn reader(work: Work) {
    for (resource, most) in [
        (Resource::RLIMIT_DATA, MAX_MEMORY),
        (Resource::RLIMIT_CPU, max_seconds(work)),
        (Resource::RLIMIT_NOFILE, MAX_FILES),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_CORE, 0),
    ] {
        // Without it the reader has as much as its starter, which is bounded by patience alone.
        let _unbounded = setrlimit(resource, most, most);
    }
    drop(close_network(work));
    drop(system_calls::allow_working(work));
}

const fn max_seconds(work: Work) -> u64 {
    match work {
        Work::Texts | Work::Answers => MAX_SECONDS,
        Work::Names => MAX_SECONDS_OF_NAMES,
    }
}

/// Closes all files to this thread, and other processes' sockets and signals where the kernel can; says
/// which version of Landlock does, if one does.
fn close_files() -> Result<Option<u32>, RulesetError> {
    let closed = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .restrict_self()?;
    Ok(match (closed.ruleset, closed.landlock) {
        (RulesetStatus::NotEnforced, _) => None,
        (_, LandlockStatus::Available { effective_abi, .. }) => Some(effective_abi as u32),
        _ => None,
    })
}

/// Closes TCP to this thread, but for what DNS takes.
fn close_network(work: Work) -> Result<(), RulesetError> {
    let closed = match work {
        Work::Texts | Work::Answers => AccessNet::from_all(NEWEST),
        Work::Names => AccessNet::BindTcp.into(),
    };
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(closed)?
        .create()?
        .restrict_self()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::ErrorKind,
        net::{TcpStream, UdpSocket},
        os::unix::net::UnixStream,
        process::Command,
        thread,
    };

    use nix::{sys::signal::kill, unistd::getppid};

    use super::*;

    /// What the kernel says to a thread that is confined by `confine`: each of these holds a thread alone.
    fn confined<T: Send + 'static>(
        confine: impl FnOnce() + Send + 'static,
        try_it: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let thread = thread::spawn(move || {
            confine();
            try_it()
        });
        thread.join().expect("no panic")
    }

    fn call(number: libc::c_long) -> io::Result<()> {
        // SAFETY: with these arguments none of the calls that are tried writes to memory.
        match unsafe { libc::syscall(number, -1, 0, 0, 0, 0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    #[test]
    fn a_reader_reaches_no_file_no_process_and_no_socket_but_its_own() {
        let results = confined(
            || system_calls::allow_working(Work::Texts).expect("a filter"),
            || {
                let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
                let killed = kill(getppid(), None).map_err(io::Error::from);
                let mut results = vec![
                    ("a file", kind(File::open("/etc/passwd").map(drop))),
                    (
                        "a Unix socket",
                        kind(UnixStream::connect("/nowhere").map(drop)),
                    ),
                    (
                        "a UDP socket",
                        kind(UdpSocket::bind("127.0.0.1:0").map(drop)),
                    ),
                    ("a program", kind(Command::new("true").spawn().map(drop))),
                    ("a signal", kind(killed)),
                ];
                for (name, number) in [
                    ("ptrace", libc::SYS_ptrace),
                    ("bpf", libc::SYS_bpf),
                    ("execve", libc::SYS_execve),
                    ("clone3", libc::SYS_clone3),
                    ("prctl", libc::SYS_prctl),
                    ("io_uring", libc::SYS_io_uring_setup),
                    ("process_vm_readv", libc::SYS_process_vm_readv),
                    ("pidfd_getfd", libc::SYS_pidfd_getfd),
                    ("unshare", libc::SYS_unshare),
                    ("mount", libc::SYS_mount),
                    ("openat2", libc::SYS_openat2),
                ] {
                    results.push((name, kind(call(number))));
                }
                results
            },
        );
        for (what, result) in results {
            assert_eq!(result, Err(ErrorKind::PermissionDenied), "{what}");
        }
    }

    #[test]
    fn a_reader_keeps_what_it_speaks_with() {
        use io::{Read as _, Write as _};
        let (mut ours, mut its) = UnixStream::pair().expect("a pair");
        ours.write_all(b"heard").expect("written");
        let heard = confined(
            || system_calls::allow_working(Work::Texts).expect("a filter"),
            move || {
                let mut heard = [0; 5];
                its.read_exact(&mut heard)?;
                its.write_all(&heard)?;
                Ok::<_, io::Error>(vec![heard; 1 << 16].concat().len())
            },
        );
        assert_eq!(heard.expect("heard"), 5 << 16);
        let mut back = String::new();
        ours.read_to_string(&mut back).expect("read");
        assert_eq!(back, "heard");
    }

    /// Where the kernel has it, Landlock closes files without a filter of system calls.
    #[test]
    fn landlock_alone_closes_files_and_tcp() {
        let (landlock, file, tcp) = confined(
            || {},
            || {
                let landlock = close_files().expect("a ruleset");
                close_network(Work::Texts).expect("a ruleset");
                let file = File::open("/etc/passwd").map(drop);
                let tcp = TcpStream::connect("127.0.0.1:9").map(drop);
                (landlock, file, tcp)
            },
        );
        let denied = Err(ErrorKind::PermissionDenied);
        let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
        match landlock {
            Some(version) => {
                assert_eq!(kind(file), denied);
                assert!(version < 4 || kind(tcp) == denied);
            }
            None => assert!(file.is_ok()),
        }
    }
}
