//! The accounts of this host, read from its files: a static binary has no NSS.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

/// Where accounts are listed; the second is what nss-altfiles adds on image-based systems.
const LISTS: [&str; 2] = ["etc/passwd", "usr/lib/passwd"];

/// Where systemd links the accounts of running `DynamicUser=` services, by name and by uid, for
/// programs that cannot ask it.
const DYNAMIC: &str = "run/systemd/dynamic-uid";

/// The longest list that is read, in bytes.
const MAX_LIST: u64 = 1 << 20;

/// The accounts of a host.
#[derive(Debug, Default)]
pub(crate) struct Users {
    listed: BTreeMap<String, u32>,
    dynamic: PathBuf,
}

impl Users {
    /// Reads the accounts of the host whose files are below `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let mut users = Self {
            listed: BTreeMap::new(),
            dynamic: root.join(DYNAMIC),
        };
        for list in LISTS {
            users.add(&text(&root.join(list)));
        }
        users
    }

    /// Adds the accounts of a passwd(5); the first of a name counts.
    fn add(&mut self, text: &str) {
        for line in text.lines() {
            let mut fields = line.split(':');
            let name = fields.next().unwrap_or_default();
            let uid = fields.nth(1).and_then(|uid| uid.parse().ok());
            if let Some(uid) = uid.filter(|_| !name.is_empty()) {
                self.listed.entry(name.to_owned()).or_insert(uid);
            }
        }
    }

    /// The uid of an account.
    pub(crate) fn uid(&self, name: &str) -> Option<u32> {
        let listed = self.listed.get(name).copied();
        listed.or_else(|| self.dynamic_link(name)?.parse().ok())
    }

    /// The name of an account.
    pub(super) fn name(&self, uid: u32) -> Option<String> {
        let mut listed = self.listed.iter();
        let listed = listed.find_map(|(name, of)| (*of == uid).then(|| name.clone()));
        listed.or_else(|| self.dynamic_link(&uid.to_string()))
    }

    /// What `direct:KEY` links to: a uid for a name, a name for a uid.
    fn dynamic_link(&self, key: &str) -> Option<String> {
        if key.contains('/') {
            return None;
        }
        let link = fs::read_link(self.dynamic.join(format!("direct:{key}"))).ok()?;
        link.to_str().map(str::to_owned)
    }
}

/// The text of a list as far as it is read; none where there is no list.
fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path)
        && let Err(error) = file.take(MAX_LIST).read_to_end(&mut bytes)
    {
        tracing::debug!("cannot read {}: {error}", path.display());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn accounts_are_found_in_every_list_and_the_first_of_a_name_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, text).expect("written");
        };
        write(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\n+nis\n:x:7:\nntp:x:wrong:1\nntp:x:38:1\nntp:x:39:1\n",
        );
        write("usr/lib/passwd", "chrony:x:992:1\nntp:x:40:1\n");
        let dynamic = root.path().join(DYNAMIC);
        fs::create_dir_all(&dynamic).expect("made");
        symlink("61500", dynamic.join("direct:ntpd-rs")).expect("a link");
        symlink("ntpd-rs", dynamic.join("direct:61500")).expect("a link");
        let users = Users::read(root.path());
        for (name, uid) in [
            ("root", Some(0)),
            ("ntp", Some(38)),
            ("chrony", Some(992)),
            ("ntpd-rs", Some(61500)),
            ("nis", None),
            ("", None),
            ("../direct:ntpd-rs", None),
        ] {
            assert_eq!(users.uid(name), uid, "{name:?}");
        }
        assert_eq!(users.name(992).as_deref(), Some("chrony"));
        assert_eq!(users.name(61500).as_deref(), Some("ntpd-rs"));
        assert_eq!(users.name(7), None);
    }
}
