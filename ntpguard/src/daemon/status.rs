//! How the guard is, told by the daemon.

use crate::{
    api::status::{Daemon, Finding, Grants, Interface, Status},
    clock::BootSeconds,
    confine::Confinement,
    datapath::{self, Guard},
    readers::Readers,
    reconciler::Reconciler,
};

/// Gathers the status of a living daemon.
pub(super) fn of(
    reconciler: &Reconciler,
    guard: &Guard,
    readers: &Readers,
    now: BootSeconds,
) -> Result<Status, datapath::Error> {
    let mut status = Status::of_tables(&guard.tables, now)?;
    status.daemon = Some(Daemon {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        confinement: Confinement::of_this_process().ok(),
        readers: Some(readers.status()),
    });
    status.settled = reconciler.book.names.all_settled();
    let look = guard.look().unwrap_or_else(|error| {
        status.trouble = Some(format!(
            "cannot look at what is attached, which is shown as it was before: {error}"
        ));
        guard.last_look()
    });
    status.guarding = look.is_guarding();
    let missing = guard.missing.iter().map(Interface::of_missing);
    let looked = look.interfaces.iter().map(Interface::of);
    status.interfaces = looked.chain(missing).collect();
    status.findings = look.findings.iter().map(Finding::of).collect();
    status.grants = Grants::of(reconciler.projected());
    reconciler.describe(&mut status, now);
    Ok(status)
}
