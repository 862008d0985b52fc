//! The time daemons that run.
//!
//! A name proves nothing: anybody can call a program `chronyd`. So the program must be root's file
//! that nobody else can write, run for root or a system account, and in the same pid and user
//! namespaces as this process, which a container's are not. In another network namespace it asks
//! through other interfaces.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    cgroup,
    known::{FIRST_HUMAN, PROGRAMS},
};

/// Others than the owner may write the file.
const OTHERS_WRITE: u32 = 0o022;

/// A time daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeDaemon {
    /// Its process id.
    pub pid: u32,
    /// Its program's file name.
    pub program: String,
    /// Its cgroup, as the kernel calls it.
    pub cgroup: Option<PathBuf>,
}

/// Finds the time daemons among all processes. Those that end meanwhile are none.
pub fn time_daemons() -> Vec<TimeDaemon> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(time_daemon)
        .collect()
}

fn time_daemon(pid: u32) -> Option<TimeDaemon> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let exe = process.join("exe");
    let program = program(&fs::read_link(&exe).ok()?)?;
    let is_genuine = is_of_the_system(&process)
        && ["pid", "user", "net"]
            .iter()
            .all(|kind| shares_namespace(&process, kind));
    is_genuine.then(|| TimeDaemon {
        pid,
        program,
        cgroup: fs::read_to_string(process.join("cgroup"))
            .ok()
            .and_then(|text| cgroup::of_process(&text)),
    })
}

/// The well-known program that an executable is. One that was replaced on disk goes on running.
fn program(exe: &Path) -> Option<String> {
    let name = exe.file_name()?.to_str()?;
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    PROGRAMS.contains(&name).then(|| name.to_owned())
}

/// Whether a process, by its directory in /proc, is a program of root's that runs for root or a
/// system account: nobody else chose what it does.
pub(crate) fn is_of_the_system(process: &Path) -> bool {
    let program = fs::metadata(process.join("exe"));
    let status = fs::read_to_string(process.join("status"));
    let of_root = |file: Metadata| file.uid() == 0 && file.mode() & OTHERS_WRITE == 0;
    program.is_ok_and(of_root)
        && status.is_ok_and(|status| uid(&status).is_some_and(|uid| uid < FIRST_HUMAN))
}

/// The effective uid in the text of a `/proc/PID/status`.
fn uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn shares_namespace(process: &Path, kind: &str) -> bool {
    let of = |process: &Path| fs::read_link(process.join("ns").join(kind)).ok();
    of(process).is_some_and(|theirs| Some(theirs) == of(Path::new("/proc/self")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_go_by_their_file_names() {
        let of = |path: &str| program(Path::new(path));
        assert_eq!(of("/usr/sbin/chronyd"), Some("chronyd".to_owned()));
        assert_eq!(of("/usr/sbin/ntpd (deleted)"), Some("ntpd".to_owned()));
        assert_eq!(of("/usr/bin/chronyc"), None);
    }

    #[test]
    fn the_effective_uid_counts() {
        assert_eq!(uid("Name:\tntpd\nUid:\t0\t102\t102\t102\n"), Some(102));
        assert_eq!(uid("Name:\tntpd\n"), None);
    }

    #[test]
    fn this_process_is_none() {
        let me = std::process::id();
        assert!(time_daemons().iter().all(|daemon| daemon.pid != me));
        assert!(shares_namespace(Path::new("/proc/self"), "pid"));
    }
}
