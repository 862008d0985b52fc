//! The kernel's side: loading, attaching, pinning, and the tables.
//!
//! - [`object`] is the compiled kernel half and how it is loaded; [`trial`] runs it on single frames;
//! - [`pins`] is the directory that keeps programs, maps and links alive when no process does;
//! - [`tables`] reads and writes the maps, `sieve` makes the bits that go before them;
//! - [`interface`] finds the interfaces, [`attach`] puts programs where packets arrive, [`egress`]
//!   where they leave;
//! - [`guard`] does all of it in an order that leaves a working guard wherever it is stopped;
//! - [`mod@survey`] says what is there, and removes it.

pub mod attach;
mod bpffs;
mod change;
pub mod egress;
pub mod error;
mod filter;
pub mod guard;
pub mod interface;
mod layout;
mod link;
mod netlink;
pub mod object;
pub mod pins;
mod programs;
mod sieve;
mod stack;
mod stops;
pub mod survey;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod trial;

pub use attach::{AttachMode, Attached, How};
pub use egress::Egress;
pub use error::Error;
pub use guard::{Guard, Options};
pub use interface::Interface;
pub use object::{Mode, Settings, Tracking};
pub use pins::{Hook, Lock, PinDir};
pub use survey::{Guarded, Survey, Unloaded, survey, unload};
pub use tables::{Changes, Incomplete, Tables};
pub use trial::{Trial, TrialResult};
