//! Who can put processes into a cgroup.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use super::cgroup::Hierarchy;

/// Others than the owner may write the file.
const OTHERS_WRITE: u32 = 0o022;

/// The files of a cgroup whose owner can move processes, beside the directory itself: what is handed
/// over to delegate it (cgroups(7), "Delegating a hierarchy").
const FILES: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];

/// A file of a cgroup that others than root can write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changeable {
    /// The file.
    pub path: PathBuf,
    /// Its owner.
    pub uid: u32,
}

impl fmt::Display for Changeable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, uid } = self;
        match uid {
            0 => write!(f, "{} is not writable by root alone", path.display()),
            uid => write!(f, "{} belongs to uid {uid}", path.display()),
        }
    }
}

/// Finds out whether only root can put processes into the cgroup `name` and those above it, up to
/// the root of the hierarchy. The cgroup itself may belong to one of `accounts`, as systemd's
/// `Delegate=` has it. `Ok(Some(_))` is what someone else can write.
///
/// # Errors
/// The cgroup is gone, or cannot be looked at.
pub(super) fn changeable(
    hierarchy: &Hierarchy,
    name: &Path,
    accounts: &[u32],
) -> io::Result<Option<Changeable>> {
    let mut directory = hierarchy.mount().to_owned();
    let mut names = name
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .peekable();
    while let Some(name) = names.next() {
        directory.push(name);
        let owners = if names.peek().is_none() {
            accounts
        } else {
            &[]
        };
        let files = FILES.map(|file| directory.join(file));
        for path in std::iter::once(directory.clone()).chain(files) {
            // Not through links, of which a hierarchy has none.
            let file = fs::symlink_metadata(&path)?;
            let uid = file.uid();
            let is_owned = uid == 0 || owners.contains(&uid);
            if !is_owned || file.mode() & OTHERS_WRITE != 0 {
                return Ok(Some(Changeable { path, uid }));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    const USER: u32 = 1_500;

    /// A hierarchy with the cgroup `/a/b`. Tests run as root, whose it all is.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(tree.0.path().join("a/b")).unwrap();
            for directory in ["a", "a/b"] {
                for file in FILES {
                    fs::write(tree.0.path().join(directory).join(file), "").unwrap();
                }
            }
            tree
        }

        /// What `/a/b` is found to be, where it may belong to uid 123.
        fn found(&self) -> Option<(String, u32)> {
            let hierarchy = Hierarchy::at(self.0.path());
            let found = changeable(&hierarchy, Path::new("/a/b"), &[123]).unwrap()?;
            let path = found.path.strip_prefix(self.0.path()).unwrap();
            Some((path.to_str().unwrap().to_owned(), found.uid))
        }

        fn give(&self, path: &str, uid: u32) {
            chown(self.0.path().join(path), Some(uid), None).unwrap();
        }
    }

    #[test]
    fn a_cgroup_of_roots_is_fit() {
        assert_eq!(Tree::new().found(), None);
        let gone = changeable(&Hierarchy::at("/nonexistent"), Path::new("/a"), &[]);
        assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn any_file_of_a_user_on_the_way_is_found() {
        for path in [
            "a",
            "a/cgroup.procs",
            "a/cgroup.threads",
            "a/cgroup.subtree_control",
            "a/b",
            "a/b/cgroup.procs",
            "a/b/cgroup.threads",
            "a/b/cgroup.subtree_control",
        ] {
            let tree = Tree::new();
            tree.give(path, USER);
            assert_eq!(tree.found(), Some((path.to_owned(), USER)));
            let tree = Tree::new();
            let writable = fs::Permissions::from_mode(0o664);
            fs::set_permissions(tree.0.path().join(path), writable).unwrap();
            assert_eq!(tree.found(), Some((path.to_owned(), 0)));
        }
    }

    #[test]
    fn the_daemons_account_may_own_its_own_cgroup_and_none_above() {
        let tree = Tree::new();
        for path in ["a/b", "a/b/cgroup.procs", "a/b/cgroup.subtree_control"] {
            tree.give(path, 123);
        }
        assert_eq!(tree.found(), None);
        tree.give("a/cgroup.procs", 123);
        assert_eq!(tree.found(), Some(("a/cgroup.procs".to_owned(), 123)));
    }
}
