//! The guard: what it is to be ([`Options`]), what it is ([`Guard`]), and each step of its life.
//!
//! - `start` loads, fills and attaches, or takes over what is there: `takeover` for each interface,
//!   `migrate` for maps of another layout, `loaded` for the programs, `succession` from one process to
//!   the next;
//! - [`reattach`] keeps it as it is to be, from the descriptors in `held`;
//! - `reload` swaps programs when a constant of theirs changes;
//! - [`mod@survey`] says what is in the kernel, [`mod@unload`] removes it;
//! - `failpoint` lets tests stop a start anywhere.

pub(super) mod failpoint;
pub(super) mod held;
pub(super) mod loaded;
pub(super) mod migrate;
pub mod reattach;
pub(super) mod reload;
mod start;
pub(super) mod succession;
pub mod survey;
pub(super) mod takeover;
pub mod unload;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use ntpguard_common::{
    clock::Clock,
    maps::{
        rates::Rates,
        tables::{DEFAULT_TABLE_SIZE, MAX_INTERFACES},
    },
    wire::packet::Link,
};

use self::{
    held::Holds,
    loaded::{Fixed, Loaded},
};
use super::{
    AttachMode, AttachPoint, Attached, Error, Interface, Missing, Mode, PinDir, Reach, Settings,
    Tables, Tracking, Unloaded,
    attach::{external, ingress::Place, tc},
    attachments::{Device, Upkeep, pinned::Anchor},
    interface::{netlink, stacking},
    pins::Hook,
};
use crate::trust::Found;

/// What a guard is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where programs, maps and links are pinned; on a BPF file system.
    pub pin_dir: PathBuf,
    /// The interfaces to guard, and no others.
    pub interfaces: Vec<Interface>,
    /// What becomes of packets without a grant.
    pub mode: Mode,
    /// Where the program is to run.
    pub attach: AttachMode,
    /// What replies have to prove.
    pub tracking: Tracking,
    /// Packets a second that each client may send, 0 for no limit.
    pub client_rate: u32,
    /// Packets a second that all clients may send, 0 for no limit.
    pub total_rate: u32,
    /// Who is trusted as it starts.
    pub senders: Found,
    /// The uids that are trusted.
    pub uids: BTreeSet<u32>,
    /// Most entries of each `ALLOW_*` map.
    pub table_size: u32,
}

impl Options {
    /// The usual options, for these interfaces.
    pub fn new(pin_dir: impl Into<PathBuf>, interfaces: Vec<Interface>) -> Self {
        Self {
            pin_dir: pin_dir.into(),
            interfaces,
            mode: Mode::Enforce,
            attach: AttachMode::Auto,
            tracking: Tracking::default(),
            client_rate: Rates::CLIENT,
            total_rate: Rates::TOTAL,
            senders: Found::default(),
            uids: BTreeSet::new(),
            table_size: DEFAULT_TABLE_SIZE,
        }
    }

    /// Looks at the interfaces before anything is changed: whether each is fit to be guarded so.
    pub(super) fn places(&self, pins: &PinDir) -> Result<Vec<Place>, Error> {
        if self.interfaces.len() > MAX_INTERFACES {
            return Err(Error::TooManyInterfaces(self.interfaces.len()));
        }
        netlink::blocking(stacking::ensure_apart(&self.interfaces))?;
        let look = |interface| Place::look(pins, interface, self.attach);
        self.interfaces.iter().map(look).collect()
    }

    pub(super) const fn settings(&self, link: Link, fixed: &Fixed) -> Settings {
        Settings {
            mode: self.mode,
            link,
            explain: false,
            tracking: self.tracking,
            other_ports: fixed.other_ports,
            rates: fixed.rates,
            clock: Clock::Kernel,
            table_size: self.table_size,
        }
    }
}

/// A guard in force. Dropping it leaves the guard in the kernel.
#[derive(Debug)]
pub struct Guard {
    /// The tables it looks into.
    pub tables: Tables,
    /// The interfaces it guards.
    pub attached: Vec<Attached>,
    /// Those it is to guard when they come back.
    pub missing: Vec<Missing>,
    /// What it is, for these.
    pub(super) options: Options,
    pub(super) pins: PinDir,
    /// Kept loaded: an interface that comes back is not to be open for long.
    pub(super) programs: Loaded,
    /// What is held of each guarded interface, by its index.
    pub(super) held: BTreeMap<u32, Holds>,
    /// What is held of the pins.
    pub(super) anchor: Anchor,
    pub(super) upkeep: Upkeep,
    /// How far the BPF file system reaches, where that is not far enough.
    pub(super) reach: Option<Reach>,
    /// The devices of the network namespace, as of the last time that they were asked for.
    pub(super) devices: BTreeMap<u32, Device>,
    pub(super) devices_are_stale: bool,
}

impl Guard {
    /// Whether anything judges what arrives: where somebody else is to attach the program, he may not
    /// have done so.
    pub fn is_guarding(&self) -> bool {
        self.attached.iter().any(|attached| self.judges(attached))
    }

    /// Whether a program judges what arrives at an interface.
    pub fn judges(&self, attached: &Attached) -> bool {
        attached.how != AttachPoint::External || matches!(external::find(&self.pins), Ok(Some(_)))
    }

    /// Removes the guard and everything it pinned.
    pub fn detach(self) -> Result<Unloaded, Error> {
        let unloaded = unload::unload(self.pins.path());
        // Where the pins are gone, filters are found by their interfaces.
        for hook in [Hook::Ingress, Hook::Egress] {
            for index in self.held.keys() {
                tc::vacate(&self.pins, hook, *index)?;
            }
        }
        unloaded
    }
}
