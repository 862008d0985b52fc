//! How much each speaker may take of what the guard has: one table for all that is counted.
//!
//! Root's figures are what the formats and tables hold, and stop accidents alone. Those of the others keep
//! whoever can write a file of theirs from taking root's room, the guard's memory, its time or its log.

use std::time::Duration;

use ntpguard_common::maps::tables::SERVERS_SIZE;

use super::Speaker;

/// What one speaker may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Servers that one configuration names.
    pub(crate) servers: usize,
    /// Of these, those by name, which are asked of DNS.
    pub(crate) names: usize,
    /// Addresses that one name holds.
    pub(crate) addresses: usize,
    /// Grants of all configurations together, each address of a name counted.
    pub(crate) grants: usize,
    /// Files of one configuration.
    pub(crate) files: usize,
    /// Bytes of one configuration, all files together.
    pub(crate) bytes: u64,
    /// Directories and entries of directories that are looked at for one configuration.
    pub(crate) entries: usize,
    /// Time in which the guard looks at files for one configuration.
    pub(crate) work: Duration,
    /// Time for which the guard waits for the process that reads one configuration.
    pub(crate) patience: Duration,
    /// Paths that are watched for one configuration.
    pub(crate) watched: usize,
    /// Problems that are kept of one configuration.
    pub(crate) problems: usize,
    /// Lines of the log in each [`LOG_PERIOD`].
    pub(crate) log_lines: u32,
}

/// For how long, in seconds, lines of the log are counted.
pub(crate) const LOG_PERIOD: u32 = 600;

/// Root's.
const ROOT: Budget = Budget {
    servers: 1 << 16,
    names: 1 << 16,
    addresses: 1_024,
    grants: usize::MAX,
    files: 1_000,
    bytes: 16 << 20,
    entries: 1 << 20,
    work: Duration::from_secs(20),
    patience: Duration::from_secs(20),
    watched: 8_192,
    problems: 2_000,
    log_lines: u32::MAX,
};

/// Everybody else's: many times what a real configuration has.
const OTHERS: Budget = Budget {
    servers: 256,
    names: 64,
    addresses: 64,
    grants: 1_024,
    files: 64,
    bytes: 2 << 20,
    entries: 4_096,
    work: Duration::from_millis(500),
    patience: Duration::from_secs(2),
    watched: 128,
    problems: 16,
    log_lines: 32,
};

/// Those of daemons: the kernel learns no more servers than fit its own table, twice over with those of an
/// earlier run.
const DAEMONS: Budget = Budget {
    grants: 3 * SERVERS_SIZE as usize,
    ..OTHERS
};

impl Budget {
    /// What `speaker` may have.
    pub(crate) const fn of(speaker: Speaker) -> &'static Self {
        match speaker {
            Speaker::Root => &ROOT,
            Speaker::Daemon => &DAEMONS,
            Speaker::CommandLine | Speaker::Others | Speaker::Container => &OTHERS,
        }
    }
}
