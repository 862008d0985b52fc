//! The cgroup-v2 hierarchy, alone or mounted beside v1.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::service;
use crate::{lookup::Lookup, mounts};

/// Where the mounts of this process are told.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Where it is on nearly all systems, alone or beside v1. To look there is quicker than to read all mounts,
/// of which users can make very many.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The number of the root of every hierarchy: the first that the kernel gives (`idr_alloc_cyclic` in
/// `__kernfs_new_node`).
const ROOT: u64 = 1;

/// The most cgroups that are looked at for a name: a user may make very many below the one of a session.
const MOST_SEEN: usize = 2_048;

/// How far below the root they are looked for.
const DEEPEST_SEEN: u32 = 12;

/// The hierarchy, as it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    mount: PathBuf,
    /// Whether all of it is seen, which it is not in a cgroup namespace.
    is_whole: bool,
}

impl Hierarchy {
    /// The hierarchy of this system, if it has one that this process sees.
    pub fn mounted() -> Lookup<Self> {
        let mut usual = USUAL.into_iter().map(Path::new);
        let mount = match usual.find(|path| is_mounted_at(path)) {
            Some(mount) => mount.to_owned(),
            None => match Lookup::of(mounts::find(Path::new(MOUNTS), mount_point)) {
                Lookup::Found(Some(mount)) => mount,
                Lookup::Found(None) | Lookup::Absent => return Lookup::Absent,
                Lookup::Refused(error) => return Lookup::Refused(error),
            },
        };
        match id(&mount) {
            Lookup::Found(id) => Lookup::Found(Self {
                is_whole: id == ROOT,
                mount,
            }),
            Lookup::Absent => Lookup::Absent,
            Lookup::Refused(error) => Lookup::Refused(error),
        }
    }

    /// A hierarchy that is mounted at `mount`, all of it.
    #[cfg(test)]
    pub(super) fn at(mount: impl Into<PathBuf>) -> Self {
        Self {
            mount: mount.into(),
            is_whole: true,
        }
    }

    /// Where it is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// The directory of a cgroup that the kernel calls `name`.
    pub(crate) fn path(&self, name: &Path) -> PathBuf {
        self.mount.join(name.strip_prefix("/").unwrap_or(name))
    }

    /// The directory of a unit's cgroup.
    pub(super) fn unit(&self, unit: &str) -> PathBuf {
        self.mount.join(service::SYSTEMD).join(unit)
    }

    /// What the kernel calls the cgroup of a directory; `None` for one elsewhere.
    pub fn name(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.mount).ok()?;
        Some(Path::new("/").join(below))
    }

    /// How many cgroups above the one that the kernel calls `name` there are; `None` where this process
    /// does not see all of them.
    pub(super) fn depth(&self, name: &Path) -> Option<u32> {
        let below = name.strip_prefix("/").ok()?.components().count();
        u32::try_from(below).ok().filter(|_| self.is_whole)
    }
}

/// Whether the kernel's name of a cgroup says that it is not below the root that this process sees
/// (`cgroup_namespaces(7)`).
pub(super) fn is_outside(name: &Path) -> bool {
    name.components()
        .any(|component| component == Component::ParentDir)
}

/// The number of the cgroup at `path`, which is what programs in the kernel see of a sender: the
/// inode of its directory.
pub fn id(path: &Path) -> Lookup<u64> {
    match Lookup::of(fs::metadata(path)) {
        Lookup::Found(found) if found.is_dir() => Lookup::Found(found.ino()),
        Lookup::Found(_) | Lookup::Absent => Lookup::Absent,
        Lookup::Refused(error) => Lookup::Refused(error),
    }
}

/// What the kernel calls those of the cgroups in `wanted` that there are, by their numbers. It looks through
/// `MOST_SEEN` cgroups at most, those nearest to the root first.
pub fn names(hierarchy: &Hierarchy, wanted: &BTreeSet<u64>) -> BTreeMap<u64, PathBuf> {
    let mut names = BTreeMap::new();
    let mut seen = 1;
    let mut to_see = VecDeque::from([(hierarchy.mount.clone(), 0)]);
    while let Some((directory, depth)) = to_see.pop_front() {
        let id = id(&directory).found().filter(|id| wanted.contains(id));
        names.extend(id.zip(hierarchy.name(&directory)));
        if names.len() == wanted.len() {
            break;
        }
        if depth == DEEPEST_SEEN {
            continue;
        }
        let below = directories(&directory).take(MOST_SEEN - seen);
        let before = to_see.len();
        to_see.extend(below.map(|path| (path, depth + 1)));
        seen += to_see.len() - before;
    }
    names
}

/// The directories in a directory; none where it cannot be read.
pub(super) fn directories(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

fn is_mounted_at(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Where a mount of cgroup v2 is, in a line of a mountinfo (proc(5)).
fn mount_point(line: &str) -> Option<PathBuf> {
    let (mount, source) = line.split_once(" - ")?;
    let kind = source.split(' ').next()?;
    (kind == "cgroup2").then_some(())?;
    mount.split(' ').nth(4).map(|path| unescape(path).into())
}

/// Spaces and the like come as octal numbers.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t")
}

/// The cgroup of a process in the text of its `/proc/PID/cgroup`.
pub(super) fn of_process(text: &str) -> Option<PathBuf> {
    let name = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    name.starts_with('/').then(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_v2_is_found_alone_and_beside_v1() {
        let unified = "25 30 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = |mounts: &str| mounts.lines().find_map(mount_point);
        assert_eq!(found(unified), Some("/sys/fs/cgroup".into()));
        let hybrid = "31 30 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      32 31 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      33 31 0:28 / /sys/fs/cgroup/uni\\040fied rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(found(hybrid), Some("/sys/fs/cgroup/uni fied".into()));
        assert_eq!(found("32 31 0:27 / /x rw - cgroup cgroup rw\n"), None);
        assert_eq!(found("nonsense"), None);
    }

    #[test]
    fn the_cgroup_of_a_process_is_the_line_of_v2() {
        let hybrid = "8:pids:/\n1:cpu:/x\n0::/system.slice/chrony.service\n";
        assert_eq!(
            of_process(hybrid),
            Some("/system.slice/chrony.service".into())
        );
        assert_eq!(of_process("1:cpu:/x\n"), None);
    }

    #[test]
    fn names_are_from_the_root_of_the_hierarchy() {
        let hierarchy = Hierarchy::at("/cg");
        assert_eq!(hierarchy.name(Path::new("/cg/a/b")), Some("/a/b".into()));
        assert_eq!(hierarchy.name(Path::new("/cg")), Some("/".into()));
        assert_eq!(hierarchy.name(Path::new("/cgroup/a")), None);
        assert_eq!(hierarchy.path(Path::new("/a/b")), Path::new("/cg/a/b"));
    }

    #[test]
    fn not_all_cgroups_are_looked_at_where_there_are_very_many() {
        let directory = tempfile::tempdir().unwrap();
        let crowd = directory.path().join("user.slice");
        for number in 0..2 * MOST_SEEN {
            fs::create_dir_all(crowd.join(number.to_string())).unwrap();
        }
        let services = directory.path().join("system.slice");
        fs::create_dir(&services).unwrap();
        let hierarchy = Hierarchy::at(directory.path());
        let crowd = directories(&crowd).filter_map(|path| id(&path).found());
        let crowd: BTreeSet<u64> = crowd.collect();
        assert_eq!(crowd.len(), 2 * MOST_SEEN);
        let seen = names(&hierarchy, &crowd).len();
        assert!((1..MOST_SEEN).contains(&seen), "{seen}");
        let wanted = id(&services).found().unwrap();
        let found = names(&hierarchy, &BTreeSet::from([wanted]));
        assert_eq!(found[&wanted], Path::new("/system.slice"));
        assert_eq!(found.len(), 1, "others are not kept");
    }

    #[test]
    fn a_cgroup_is_not_looked_for_at_any_depth() {
        let directory = tempfile::tempdir().unwrap();
        let at = |depth| directory.path().join(vec!["x"; depth].join("/"));
        fs::create_dir_all(at(40)).unwrap();
        let hierarchy = Hierarchy::at(directory.path());
        let is_found = |depth| {
            let id = id(&at(depth)).found().unwrap();
            !names(&hierarchy, &BTreeSet::from([id])).is_empty()
        };
        assert!(is_found(DEEPEST_SEEN as usize));
        assert!(!is_found(DEEPEST_SEEN as usize + 1));
    }
}
