//! Names that no other run uses, and that tell whose they are: `PREFIX-PID-N…`.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The next number that nothing else in this process has.
pub(crate) fn number() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A name of this process: `PREFIX-PID-N`.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}-{}", std::process::id(), number())
}

/// Whether `name` was made by [`unique`] in a process that no longer lives.
pub(crate) fn is_orphan(prefix: &str, name: &str) -> bool {
    let Some(rest) = name
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
    else {
        return false;
    };
    let pid = rest.split('-').next().unwrap_or_default();
    !pid.is_empty()
        && pid.bytes().all(|byte| byte.is_ascii_digit())
        && !Path::new("/proc").join(pid).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_dead_processes_are_orphans() {
        assert!(!is_orphan("ng", &unique("ng")));
        // Beyond the kernel's greatest process id, 2^22.
        assert!(is_orphan("ng", "ng-99999999-0-client"));
        assert!(!is_orphan("ng", "ng-99999999x-0"));
        assert!(!is_orphan("ng", "ng-"));
        assert!(!is_orphan("ng", "other-99999999-0"));
        assert!(!is_orphan("ng", "nginx-99999999-0"));
    }
}
