//! What the kernel's error numbers mean, by what was attempted, and what to do: the one place that knows.

use std::{fs, io};

use caps::{CapSet, Capability, CapsHashSet};
use nix::{
    libc::{E2BIG, EACCES, EINVAL, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM, ERANGE, EROFS},
    sys::{
        resource::{RLIM_INFINITY, Resource, getrlimit},
        utsname::uname,
    },
};

use super::interface::netlink::Xdp;

/// What was attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// To make a map, or to open one.
    Map,
    /// To load a program.
    Program,
    /// To pin something, or to change the pin directory.
    Pin,
    /// To have something attached, or to ask the kernel about interfaces.
    Attach,
    /// Anything else, in the pin directory or on links.
    Other,
}

/// What the meaning of an error depends on.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The capabilities of this process that it lacks of those that guarding takes.
    pub(super) lacks: CapsHashSet,
    /// Whether its capabilities hold in a user namespace alone.
    pub(super) is_in_user_namespace: bool,
    /// The first two numbers of the kernel's version.
    pub(super) kernel: (u32, u32),
    /// The limit on locked memory, bytes; `None` where there is none.
    pub(super) locked_memory: Option<u64>,
}

/// What is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    pub(super) text: String,
    /// Whether this process lacks a privilege, so that no other way need be tried.
    pub(super) is_privilege: bool,
}

impl Facts {
    /// The facts of this process on this kernel.
    pub(super) fn now() -> Self {
        let held = caps::read(None, CapSet::Effective).unwrap_or_default();
        let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or((RLIM_INFINITY, 0));
        let release = uname().map(|name| name.release().to_string_lossy().into_owned());
        Self {
            lacks: lacks(&held),
            is_in_user_namespace: is_mapped(&fs::read_to_string(UID_MAP).unwrap_or_default()),
            kernel: version(&release.unwrap_or_default()),
            locked_memory: (soft != RLIM_INFINITY).then_some(soft),
        }
    }

    /// Before Linux 5.11 (kernel commit 3ac1f01b43b6) maps and programs counted against the limit.
    fn is_memory_limited(&self) -> bool {
        self.kernel < (5, 11) && self.locked_memory.is_some()
    }
}

/// How uids are mapped into the user namespace of this process (`user_namespaces(7)`).
const UID_MAP: &str = "/proc/self/uid_map";

/// Whether that is another than the first one, in which each is itself.
fn is_mapped(map: &str) -> bool {
    let words: Vec<&str> = map.split_whitespace().collect();
    !words.is_empty() && words != ["0", "0", "4294967295"]
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn lacks(held: &CapsHashSet) -> CapsHashSet {
    let is_held = |capability: &Capability| {
        held.contains(capability)
            // It stands for those that were taken out of it.
            || *capability != Capability::CAP_NET_ADMIN
                && held.contains(&Capability::CAP_SYS_ADMIN)
    };
    let all = [
        Capability::CAP_BPF,
        Capability::CAP_NET_ADMIN,
        Capability::CAP_PERFMON,
    ];
    all.into_iter()
        .filter(|capability| !is_held(capability))
        .collect()
}

impl Attempt {
    /// The capabilities that it takes.
    const fn needs(self) -> &'static [Capability] {
        match self {
            Self::Map => &[Capability::CAP_BPF],
            Self::Attach => &[Capability::CAP_NET_ADMIN],
            Self::Program | Self::Pin | Self::Other => &[
                Capability::CAP_BPF,
                Capability::CAP_NET_ADMIN,
                Capability::CAP_PERFMON,
            ],
        }
    }
}

/// What is known of an error that was met.
pub(super) fn of(attempt: Attempt, error: &io::Error, facts: &Facts) -> Option<Advice> {
    let known = |text: &str| {
        Some(Advice {
            text: text.to_owned(),
            is_privilege: false,
        })
    };
    let number = error.raw_os_error()?;
    if is_refusal(attempt, number)
        && let Some(text) = lacking(attempt, facts)
    {
        return Some(Advice {
            text,
            is_privilege: true,
        });
    }
    match (attempt, number) {
        (_, EROFS) => known(
            "the BPF file system is mounted read-only: remount it (`mount -o remount,rw \
             /sys/fs/bpf`), or use another --pin-dir",
        ),
        (Attempt::Map | Attempt::Program, EPERM) if facts.is_memory_limited() => {
            let limit = facts.locked_memory.unwrap_or(0) / 1024;
            known(&format!(
                "the limit on locked memory, {limit} KiB, is too low for the maps, which count \
                 against it before Linux 5.11: raise it (`ulimit -l unlimited`, or \
                 `LimitMEMLOCK=infinity` in the unit)"
            ))
        }
        (Attempt::Map, ENOMEM | E2BIG) => known(
            "out of memory, on this host or within this service's limit (`MemoryMax=`): raise it, \
             or use a smaller --table-size",
        ),
        (Attempt::Pin | Attempt::Other, EACCES) => Some(Advice {
            text: "permission denied: run as root, or use a --pin-dir that this user owns"
                .to_owned(),
            is_privilege: true,
        }),
        (_, EPERM) => known(
            "forbidden by a security module, kernel lockdown or a system call filter, as this \
             process has the capabilities: see `dmesg` and /sys/kernel/security/lockdown",
        ),
        _ => None,
    }
}

/// Whether the kernel may say this for want of a capability. Without `CAP_PERFMON` the verifier refuses
/// what it otherwise takes, with numbers of its own.
const fn is_refusal(attempt: Attempt, number: i32) -> bool {
    matches!(
        (attempt, number),
        (_, EPERM)
            | (Attempt::Program | Attempt::Map | Attempt::Attach, EACCES)
            | (Attempt::Program, EINVAL)
    )
}

/// The capabilities that are missing for it, and how to have them.
fn lacking(attempt: Attempt, facts: &Facts) -> Option<String> {
    let needs = attempt.needs().iter();
    let missing: Vec<String> = needs
        .filter(|capability| facts.lacks.contains(capability))
        .map(Capability::to_string)
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(" and ");
        return Some(if facts.kernel < (5, 8) {
            format!("missing {missing}: run as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN")
        } else {
            format!(
                "missing {missing}: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
            )
        });
    }
    facts.is_in_user_namespace.then(|| {
        "its capabilities are those of a user namespace, and BPF needs the host's: run outside of \
         it, or in a container without one"
            .to_owned()
    })
}

/// What a driver or the network stack means that does not take an XDP program, with its own words where
/// it has any.
pub(super) fn of_xdp(hook: Xdp, error: &io::Error, words: Option<&str>) -> String {
    if let Some(words) = words {
        return format!("{} says: {words} ({error})", who(hook));
    }
    let meaning = match (error.raw_os_error(), hook) {
        (Some(EOPNOTSUPP), Xdp::Native) => {
            "the driver does not support native XDP, or not with the offloads enabled"
        }
        (Some(EOPNOTSUPP), Xdp::Generic) => {
            "the kernel does not support generic XDP on this interface"
        }
        (Some(ERANGE | EINVAL), _) => {
            "the driver rejected it, most often because of the MTU: lower it"
        }
        (Some(ENOMEM | ENOSPC), _) => {
            "the device has no spare queues for XDP: change their number with `ethtool -L`"
        }
        _ => return error.to_string(),
    };
    format!("{meaning} ({error})")
}

const fn who(hook: Xdp) -> &'static str {
    match hook {
        Xdp::Native => "the driver",
        Xdp::Generic => "the kernel",
    }
}

#[cfg(test)]
mod tests;
