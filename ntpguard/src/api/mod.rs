//! What commands and the daemon say to each other, and the JSON that commands print.
//!
//! [`protocol`] has the requests and replies of the control socket; the other modules have the answers, a file
//! for each kind of them.

pub mod allowlist;
pub mod astray;
mod attachments;
pub mod events;
pub mod inventory;
pub mod protocol;
pub mod refusals;
pub mod status;
pub mod traffic;
