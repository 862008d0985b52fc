//! The kernel's side. [`Guard`] is what is in force: programs, maps and links, held by descriptor.
//!
//! - [`guard`] is its life: start, take over, reload, reattach, survey, unload, in an order that leaves a
//!   working guard wherever it is stopped;
//! - [`attach`] puts programs where packets arrive and where they leave;
//! - [`attachments`] compares what should be attached and pinned with what the kernel says;
//! - [`object`] is the compiled kernel half: its constants, how it is loaded, and as libxdp takes it;
//! - [`maps`] reads and writes the maps;
//! - [`interface`] knows the network interfaces, over rtnetlink;
//! - [`pins`] is the directory that keeps all of it alive when no process does;
//! - [`error`] says what failed and, with `advice`, what to do;
//! - [`test_run`] runs the programs on single frames, attached to nothing.

mod advice;
pub mod attach;
pub mod attachments;
pub mod error;
pub mod guard;
pub mod interface;
pub mod maps;
pub mod object;
pub mod pins;
pub mod test_run;
#[cfg(test)]
mod tests;

pub use attach::{AttachMode, AttachPoint, Attached, tc::Tc};
pub use attachments::{Difference, Finding, Look, Looked, Outlook, Reach};
pub use error::Error;
pub use guard::{
    Guard, Options,
    reattach::{Missing, Occasion},
    survey::{Guarded, Survey, survey},
    unload::{Unloaded, unload},
};
pub use interface::{Interface, interfaces, monitor::InterfaceEvents};
pub use maps::{
    event_ring::Verdicts,
    open_requests::{OpenRequests, Unanswered},
    tables::{Changes, Incomplete, Tables},
};
pub use object::settings::{LONGEST_WINDOW, Mode, Settings, Tracking};
pub use pins::{Hook, PinDir, lock::Lock};
pub use test_run::{Trial, TrialResult};

/// Does what takes privileges that a guard gives up before it begins: see [`crate::confine`].
pub fn prepare() {
    object::loader::lift_memory_limit();
    attach::others::remember();
}
