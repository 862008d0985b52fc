//! What the systems are made of.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// A system, as mmdebstrap makes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    /// The name that it is asked for by.
    pub(crate) name: &'static str,
    /// The name for people.
    pub(super) title: &'static str,
    /// The release, as the mirror names it.
    pub(super) release: &'static str,
    /// What is installed beside Debian's essential packages.
    pub(super) packages: &'static [&'static str],
}

/// Every system there is.
pub(super) const RECIPES: &[Recipe] = &[Recipe {
    name: "debian-12",
    title: "Debian 12",
    release: "bookworm",
    packages: &[
        "apparmor",
        "chrony",
        "dbus",
        "iproute2",
        "kmod",
        // Its small initramfs generator is not used: the whole system is the initramfs.
        "linux-image-cloud-amd64",
        // Without it no user has a session, and so no service manager.
        "libpam-systemd",
        "procps",
        "systemd",
        "systemd-sysv",
        "udev",
    ],
}];

/// Files that nothing here reads.
const LEFT_OUT: [&str; 3] = [
    "/usr/share/doc/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
];

impl Recipe {
    /// The recipe of a name, if there is one.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        RECIPES.iter().find(|recipe| recipe.name == name)
    }

    /// What mmdebstrap is called with, but where to write and the mirror.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "--variant=minbase".to_owned(),
            "--format=tar".to_owned(),
            format!("--include={}", self.packages.join(",")),
        ];
        arguments.extend(LEFT_OUT.map(|files| format!("--dpkgopt=path-exclude={files}")));
        arguments.push(self.release.to_owned());
        arguments
    }

    /// The name of what is made by this very recipe: another recipe's is another.
    pub(super) fn key(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.arguments().hash(&mut hasher);
        format!("{}-{:016x}", self.name, hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Recipe = Recipe {
        name: "debian-12",
        title: "Debian 12",
        release: "bookworm",
        packages: &["chrony", "systemd"],
    };

    #[test]
    fn what_is_installed_and_from_where_are_arguments() {
        let arguments = BARE.arguments();
        assert!(
            arguments.contains(&"--include=chrony,systemd".to_owned()),
            "{arguments:?}"
        );
        assert_eq!(arguments.last().map(String::as_str), Some("bookworm"));
    }

    #[test]
    fn a_recipe_that_changed_has_another_key_and_one_that_did_not_has_the_same() {
        let more = Recipe {
            packages: &["chrony", "ntpsec", "systemd"],
            ..BARE
        };
        let later = Recipe {
            release: "trixie",
            ..BARE
        };
        let renamed = Recipe {
            title: "bookworm",
            ..BARE
        };
        assert_ne!(BARE.key(), more.key());
        assert_ne!(BARE.key(), later.key());
        assert_eq!(BARE.key(), renamed.key());
        assert!(BARE.key().starts_with("debian-12-"), "{}", BARE.key());
    }

    #[test]
    fn each_name_is_one_recipes() {
        for recipe in RECIPES {
            let found = Recipe::named(recipe.name).map(Recipe::key);
            assert_eq!(found, Some(recipe.key()));
        }
        assert!(Recipe::named("debian-11").is_none());
    }
}
