//! How the guard is, told by the daemon.

use crate::{
    clock::BootSeconds,
    datapath::{self, Guard},
    keeper::Keeper,
    report::{Daemon, Grants, Interface, Status},
};

/// Gathers the status of a living daemon.
pub(super) fn of(
    keeper: &Keeper,
    guard: &Guard,
    now: BootSeconds,
) -> Result<Status, datapath::Error> {
    let mut status = Status::of_tables(&guard.tables, now)?;
    status.daemon = Some(Daemon {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    status.guarding = !guard.attached.is_empty();
    status.settled = keeper.book.names.all_settled();
    status.interfaces = guard.attached.iter().map(Interface::of).collect();
    status.grants = Grants::of(keeper.projected());
    keeper.describe(&mut status, now);
    Ok(status)
}
