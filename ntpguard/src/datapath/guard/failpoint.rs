//! Points of a start at which tests kill the process, to see that what is left still guards.

/// A point at which something pinned has just changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Failpoint {
    /// New maps are pinned beside those in use.
    MapsMade,
    /// The programs are in the kernel, attached to nothing.
    ProgramsLoaded,
    /// The tables hold what is wanted.
    TablesFilled,
    /// The old maps are out of the way, the new ones not in place.
    MapsSetAside,
    /// The new maps are in place.
    MapsPublished,
    /// The requests that leave by one interface are noted by the new program.
    EgressAttached,
    /// One interface has its new program.
    Attached,
    /// All interfaces have their new programs.
    AllAttached,
    /// The programs are pinned.
    ProgramsPinned,
    /// Interfaces no longer guarded have been let go.
    LinksRetired,
    /// `INFO` tells the new state.
    InfoWritten,
}

#[cfg(not(test))]
pub(in crate::datapath) const fn here(_: Failpoint) {}

#[cfg(test)]
pub(in crate::datapath) use testing::here;

#[cfg(test)]
pub(in crate::datapath) mod testing {
    use super::Failpoint;

    /// Names the stop, in the environment of a process that is to be killed there.
    pub(in crate::datapath) const VARIABLE: &str = "NTPGUARD_TEST_STOP";

    pub(in crate::datapath) const ALL: [Failpoint; 11] = [
        Failpoint::MapsMade,
        Failpoint::ProgramsLoaded,
        Failpoint::TablesFilled,
        Failpoint::MapsSetAside,
        Failpoint::MapsPublished,
        Failpoint::EgressAttached,
        Failpoint::Attached,
        Failpoint::AllAttached,
        Failpoint::ProgramsPinned,
        Failpoint::LinksRetired,
        Failpoint::InfoWritten,
    ];

    /// Kills this process, as nothing can prevent, if this is where the test wants it.
    pub(in crate::datapath) fn here(stop: Failpoint) {
        if std::env::var(VARIABLE).is_ok_and(|wanted| wanted == format!("{stop:?}")) {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    }
}
