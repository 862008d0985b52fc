//! Which cgroups are a service's, made by a service manager for it and for nothing else.
//!
//! Sessions, scopes and the root have processes of users in them.

use std::path::{Component, Path, PathBuf};

/// Where systemd puts the services of the system, directly or in slices below.
pub(super) const SYSTEMD: &str = "system.slice";

/// What the names of `OpenRC`'s cgroups begin with, at the top of the hierarchy.
pub(super) const OPENRC: &str = "openrc.";

/// The same of those that `ntpguard exec` makes.
pub(super) const OURS: &str = "ntpguard.";

/// The cgroup of the service that `cgroup` is, or is below; both are named from the root of the
/// hierarchy. `None` for any other.
pub(super) fn of(cgroup: &Path) -> Option<PathBuf> {
    let names = names(cgroup)?;
    let (top, below) = names.split_first()?;
    let depth = if has_rest(top, OPENRC) || has_rest(top, OURS) {
        1
    } else if *top == SYSTEMD {
        let slices = below.iter().take_while(|name| is_a(".slice", name));
        let depth = 1 + slices.count();
        names
            .get(depth)?
            .strip_suffix(".service")
            .filter(|name| !name.is_empty())?;
        depth + 1
    } else {
        return None;
    };
    // A container that its service keeps below itself.
    if names[depth..].iter().any(|name| is_a(".scope", name)) {
        return None;
    }
    Some(Path::new("/").join(names[..depth].iter().collect::<PathBuf>()))
}

/// The names in a path; `None` if it leads out of the root, as that of a process in another cgroup
/// namespace does.
fn names(cgroup: &Path) -> Option<Vec<&str>> {
    let below = cgroup.strip_prefix("/").ok()?;
    below
        .components()
        .map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect()
}

/// Whether a unit of systemd's is of this kind.
fn is_a(kind: &str, unit: &str) -> bool {
    unit.strip_suffix(kind).is_some()
}

fn has_rest(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(cgroup: &str) -> Option<String> {
        let service = of(Path::new(cgroup))?;
        Some(service.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_service_is_trusted_with_what_is_below_it() {
        for (cgroup, expected) in [
            (
                "/system.slice/chrony.service",
                "/system.slice/chrony.service",
            ),
            (
                "/system.slice/chrony.service/main/x",
                "/system.slice/chrony.service",
            ),
            (
                "/system.slice/system-ntp.slice/ntp@eu.service",
                "/system.slice/system-ntp.slice/ntp@eu.service",
            ),
            ("/openrc.chronyd", "/openrc.chronyd"),
            ("/openrc.chronyd/x", "/openrc.chronyd"),
            ("/ntpguard.chronyd", "/ntpguard.chronyd"),
        ] {
            assert_eq!(service(cgroup).as_deref(), Some(expected), "{cgroup}");
        }
    }

    #[test]
    fn nothing_else_is_a_service() {
        for cgroup in [
            "/",
            "/chronyd",
            "/system.slice",
            "/system.slice/chronyd",
            "/system.slice/.service",
            "/system.slice/chronyd.scope",
            "/system.slice/docker-1.scope/system.slice/chronyd.service",
            "/system.slice/docker.service/libpod-1.scope",
            "/x/system.slice/chronyd.service",
            "/user.slice/user-1500.slice/user@1500.service/app.slice/chronyd.service",
            "/user.slice/user-1500.slice/session-1.scope",
            "/user.slice/openrc.chronyd",
            "/machine.slice/chronyd.service",
            "/openrc.",
            "/openrc.x/y.scope",
            "/ntpguard",
            "/../system.slice/chronyd.service",
            "/system.slice/../user.slice/chronyd.service",
            "system.slice/chronyd.service",
        ] {
            assert_eq!(service(cgroup), None, "{cgroup}");
        }
    }
}
