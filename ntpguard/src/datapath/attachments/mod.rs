//! What should be attached, compared with what the kernel says is attached.
//!
//! `kernel` reads the kernel's side, `pinned` that of the BPF file system, and `compare` is the pure
//! comparison, of which [`Difference`]s come. A living daemon asks every few seconds and repairs
//! (`repair`), not too often (`patience`); `status` asks each time, with a daemon and without.

mod compare;
mod difference;
mod finding;
pub(super) mod kernel;
pub(super) mod patience;
pub(super) mod pinned;
mod repair;
mod stack;

pub(super) use self::{
    compare::{Expected, Observed, Program, Wanted, compare},
    difference::Repairable,
    finding::NOT_ATTACHED_BY_OTHERS,
    repair::{Upkeep, pin},
    stack::{Device, above},
};
pub use self::{
    difference::{Cause, Controller, Difference, PinLoss, Reach},
    finding::{Finding, Look, Looked, Outlook},
};
