//! How the guard is, told by the daemon.

use crate::{
    clock::BootSeconds,
    confine::Confinement,
    datapath::{self, Guard},
    keeper::Keeper,
    readers::Readers,
    report::{Daemon, Grants, Interface, Status},
};

/// Gathers the status of a living daemon.
pub(super) fn of(
    keeper: &Keeper,
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
    status.guarding = guard.is_guarding();
    status.settled = keeper.book.names.all_settled();
    let missing = guard.missing.iter().map(Interface::of_missing);
    let attached = guard
        .attached
        .iter()
        .map(|attached| Interface::of(attached, guard.judges(attached)));
    status.interfaces = attached.chain(missing).collect();
    status.grants = Grants::of(keeper.projected());
    keeper.describe(&mut status, now);
    Ok(status)
}
