//! Processes of a cgroup that ask through other interfaces than this host's: a container's.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::cgroup::directories;

/// Most cgroups, and most processes, that are looked at: those of a container are all alike.
const MOST: usize = 64;

/// Most bytes that are read of the list of a cgroup's processes.
const MOST_BYTES: u64 = 4_096;

/// Whether the processes of a cgroup and those below it are all in other network namespaces than this
/// process. Where this host forwards what they send, that leaves without the socket that it was sent with
/// (`ip_rcv_core` lets go of it), so the kernel knows neither its cgroup nor its uid. What a bridge, macvlan
/// or ipvlan passes on keeps them.
pub(super) fn are_elsewhere(cgroup: &Path, proc: &Path) -> bool {
    let Ok(own) = network(&proc.join("self")) else {
        return false;
    };
    let networks: Vec<(u64, u64)> = processes(cgroup)
        .iter()
        .filter_map(|pid| network(&proc.join(pid)).ok())
        .collect();
    !networks.is_empty() && !networks.contains(&own)
}

/// What tells the network namespace of a process from others.
fn network(process: &Path) -> io::Result<(u64, u64)> {
    let namespace = fs::metadata(process.join("ns/net"))?;
    Ok((namespace.dev(), namespace.ino()))
}

fn processes(cgroup: &Path) -> Vec<String> {
    let mut processes = Vec::new();
    let mut to_see = VecDeque::from([cgroup.to_owned()]);
    for _ in 0..MOST {
        let Some(directory) = to_see.pop_front() else {
            break;
        };
        let text = listed(&directory.join("cgroup.procs")).unwrap_or_default();
        let room = MOST.saturating_sub(processes.len());
        processes.extend(text.lines().take(room).map(str::to_owned));
        to_see.extend(directories(&directory).take(MOST.saturating_sub(to_see.len())));
    }
    processes
}

/// The first of the numbers in a list, each in a line of its own.
fn listed(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MOST_BYTES)
        .read_to_string(&mut text)?;
    // The last one may be cut short.
    let end = text.rfind('\n').map_or(0, |end| end + 1);
    text.truncate(end);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory like /proc, in which `self` and these processes are in these namespaces.
    fn proc(own: &str, others: &[(&str, &str)]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for (pid, namespace) in others.iter().chain([&("self", own)]) {
            let ns = proc.path().join(pid).join("ns");
            fs::create_dir_all(&ns).unwrap();
            let namespace = proc.path().join(namespace);
            fs::write(&namespace, "").unwrap();
            std::os::unix::fs::symlink(namespace, ns.join("net")).unwrap();
        }
        proc
    }

    #[test]
    fn a_container_is_elsewhere_and_a_service_is_not() {
        let cgroup = tempfile::tempdir().unwrap();
        let below = cgroup.path().join("init");
        fs::create_dir(&below).unwrap();
        fs::write(cgroup.path().join("cgroup.procs"), "").unwrap();
        fs::write(below.join("cgroup.procs"), "7\n8\n").unwrap();
        let guests = proc("host", &[("7", "guest"), ("8", "guest")]);
        assert!(are_elsewhere(cgroup.path(), guests.path()));
        let mixed = proc("host", &[("7", "host"), ("8", "guest")]);
        assert!(!are_elsewhere(cgroup.path(), mixed.path()));
        let gone = proc("host", &[]);
        assert!(!are_elsewhere(cgroup.path(), gone.path()));
    }
}
