//! The kernel's side: loading, attaching, pinning, and the tables.
//!
//! - [`object`] is the compiled kernel half and how it is loaded; [`trial`] runs it on single frames;
//! - [`pins`] is the directory that keeps programs, maps and links alive when no process does;
//! - [`tables`] reads and writes the maps, `sieve` makes the bits that go before them;
//! - [`interface`] finds the interfaces, [`attach`] says where programs that judge can be, `place`
//!   puts them there, [`tc`] on either side of the network stack;
//! - [`chain`] makes the object for programs that others attach;
//! - [`guard`] does all of it in an order that leaves a working guard wherever it is stopped;
//! - [`verdicts`] reads what the programs tell of single packets;
//! - [`attachments`] compares what should be attached with what the kernel says, [`mend`] repairs it,
//!   and [`events`] tells of interfaces that come and go;
//! - [`mod@survey`] says what is there, and removes it.

mod advice;
pub mod attach;
pub mod attachments;
mod bpffs;
mod btf;
pub mod chain;
mod change;
pub mod error;
pub mod events;
mod extack;
mod filter;
pub mod guard;
mod held;
pub mod interface;
mod layout;
mod link;
mod loaded;
mod memory;
pub mod mend;
mod netlink;
mod noted;
pub mod object;
mod objects;
mod others;
pub mod pins;
mod place;
mod programs;
mod reload;
mod sieve;
mod stack;
mod stops;
mod succession;
pub mod survey;
pub mod tables;
mod takeover;
pub mod tc;
#[cfg(test)]
mod tests;
pub mod trial;
pub mod verdicts;

pub use attach::{AttachMode, Attached, How};
pub use attachments::{Difference, Finding, Look, Looked, Outlook, Reach};
pub use error::Error;
pub use events::InterfaceEvents;
pub(crate) use extack::text as netlink_text;
pub use guard::{Guard, Options};
pub use interface::{Interface, interfaces};
pub use mend::{Missing, Occasion};
pub use noted::{Noted, Unanswered};
pub use object::{LONGEST_WINDOW, Mode, Settings, Tracking};
pub use pins::{Hook, Lock, PinDir};
pub use survey::{Guarded, Survey, Unloaded, survey, unload};
pub use tables::{Changes, Incomplete, Tables};
pub use tc::Tc;
pub use trial::{Trial, TrialResult};
pub use verdicts::Verdicts;

/// Does what takes privileges that a guard gives up before it begins: see [`crate::confine`].
pub fn prepare() {
    object::lift_memory_limit();
    others::remember();
}
