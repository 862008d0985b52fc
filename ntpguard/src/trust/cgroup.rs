//! The cgroup-v2 hierarchy, alone or mounted beside v1.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use super::service;
use crate::lookup::Lookup;

/// Where the mounts of this process are told.
const MOUNTS: &str = "/proc/self/mountinfo";

/// The number of the root of every hierarchy: the first that the kernel gives (`idr_alloc_cyclic` in
/// `__kernfs_new_node`).
const ROOT: u64 = 1;

/// The most cgroups whose names are found out: a user may make very many below the one of a session,
/// which is not to hold up an answer.
const MOST_NAMES: usize = 4_096;

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
        let mount = match Lookup::of(fs::read_to_string(MOUNTS)) {
            Lookup::Found(mounts) => mount_point(&mounts),
            Lookup::Absent => None,
            Lookup::Refused(error) => return Lookup::Refused(error),
        };
        let Some(mount) = mount else {
            return Lookup::Absent;
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

/// What the kernel calls each cgroup of the hierarchy, by its number: 4,096 of them at most, those
/// nearest to the root first.
pub fn names(hierarchy: &Hierarchy) -> BTreeMap<u64, PathBuf> {
    let mut names = BTreeMap::new();
    let mut to_see = VecDeque::from([hierarchy.mount.clone()]);
    while let Some(directory) = to_see.pop_front() {
        if names.len() >= MOST_NAMES {
            break;
        }
        names.extend(id(&directory).found().zip(hierarchy.name(&directory)));
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        let room = MOST_NAMES.saturating_sub(to_see.len());
        to_see.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .take(room)
                .map(|entry| entry.path()),
        );
    }
    names
}

/// The first mount of cgroup v2 in the text of a mountinfo (proc(5)).
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let kind = source.split(' ').next()?;
        (kind == "cgroup2").then_some(())?;
        mount.split(' ').nth(4).map(|path| unescape(path).into())
    })
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
        assert_eq!(mount_point(unified), Some("/sys/fs/cgroup".into()));
        let hybrid = "31 30 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      32 31 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      33 31 0:28 / /sys/fs/cgroup/uni\\040fied rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(hybrid), Some("/sys/fs/cgroup/uni fied".into()));
        assert_eq!(mount_point("32 31 0:27 / /x rw - cgroup cgroup rw\n"), None);
        assert_eq!(mount_point("nonsense"), None);
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
    fn not_all_cgroups_are_named_where_there_are_very_many() {
        let directory = tempfile::tempdir().unwrap();
        let crowd = directory.path().join("user.slice");
        for number in 0..2 * MOST_NAMES {
            fs::create_dir_all(crowd.join(number.to_string())).unwrap();
        }
        let service = directory.path().join("system.slice/chrony.service");
        fs::create_dir_all(&service).unwrap();
        let names = names(&Hierarchy::at(directory.path()));
        assert!(names.len() <= MOST_NAMES, "{}", names.len());
        let name = id(&service).found().and_then(|id| names.get(&id));
        assert!(name.is_none_or(|name| name == Path::new("/system.slice/chrony.service")));
        assert!(
            names
                .values()
                .any(|name| name == Path::new("/system.slice"))
        );
    }
}
