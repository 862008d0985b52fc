//! The senders of requests that nobody granted, by the numbers of their cgroups.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    PROC,
    cgroup::{self, Hierarchy},
    guests,
};

/// Most senders of which it is found out whether they are guests.
const MOST_GUESTS: usize = 16;

/// A cgroup that sends requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// What the kernel calls it.
    pub cgroup: PathBuf,
    /// Its directory, where its processes are all in another network namespace than this process: a guest's
    /// or container's, which a bridge, macvlan or ipvlan lets out as what they are.
    pub guest: Option<PathBuf>,
}

/// The cgroups of these numbers, as far as they are found. It takes a while where users have made very many.
pub fn senders(numbers: &BTreeSet<u64>) -> BTreeMap<u64, Sender> {
    if numbers.is_empty() {
        return BTreeMap::new();
    }
    let Some(hierarchy) = Hierarchy::mounted().found() else {
        return BTreeMap::new();
    };
    let names = cgroup::names(&hierarchy, numbers).into_iter().enumerate();
    let sender = |place: usize, cgroup: PathBuf| {
        let path = hierarchy.path(&cgroup);
        let is_guest = place < MOST_GUESTS
            && may_be_a_guests(&cgroup)
            && guests::are_elsewhere(&path, Path::new(PROC));
        Sender {
            cgroup,
            guest: is_guest.then_some(path),
        }
    };
    names
        .map(|(place, (number, cgroup))| (number, sender(place, cgroup)))
        .collect()
}

/// Whether a cgroup may be a guest's. The root cgroup is every process's that was put nowhere else: to trust
/// it would be to trust them all.
fn may_be_a_guests(cgroup: &Path) -> bool {
    cgroup != Path::new("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_cgroup_is_no_guests() {
        assert!(!may_be_a_guests(Path::new("/")));
        assert!(may_be_a_guests(Path::new("/machine.slice/lxc-time")));
    }
}
