//! How a container is told from a service of the host by its cgroup.

/// Names of cgroups below which container managers put theirs, alone or with more behind them:
/// `kubepods.slice`, `docker-0123.scope`, `lxc.payload.web`.
const MANAGERS: [&str; 4] = ["kubepods", "docker", "lxc", "libpod"];

/// Whether the text of a `/proc/PID/cgroup` is that of a process in a container, or in the session
/// of a user: no service manager of the host started it.
pub(super) fn holds(cgroups: &str) -> bool {
    cgroups
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .flat_map(|path| path.split('/'))
        .any(is_of_container)
}

fn is_of_container(name: &str) -> bool {
    let is_manager = |manager: &str| {
        let rest = name.strip_prefix(manager);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    };
    let is_scope = name.strip_suffix(".scope").is_some();
    is_scope || name == "machine.slice" || MANAGERS.into_iter().any(is_manager)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_sessions_are_told_from_services() {
        for (text, expected) in [
            ("0::/system.slice/chrony.service\n", false),
            ("0::/\n", false),
            ("8:pids:/\n0::/openrc.chronyd\n", false),
            ("0::/system.slice/dockerd.service\n", false),
            ("0::/system.slice/snap.chrony.chronyd.service\n", false),
            ("0::/system.slice/docker-0123.scope\n", true),
            ("4:memory:/docker/0123\n0::/\n", true),
            ("0::/kubepods.slice/kubepods-burstable.slice/x\n", true),
            ("0::/kubepods/besteffort/x\n", true),
            ("0::/machine.slice/machine-a.service/payload\n", true),
            ("0::/lxc.payload.web/system.slice/chrony.service\n", true),
            ("0::/user.slice/user-1000.slice/session-1.scope\n", true),
            ("0::/libpod_parent/libpod-0123\n", true),
            ("nonsense", false),
        ] {
            assert_eq!(holds(text), expected, "{text}");
        }
    }
}
