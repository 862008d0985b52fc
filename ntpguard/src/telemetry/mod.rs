//! What the kernel tells of the packets that it judges, for whoever wants to see it.
//!
//! - [`reader`] is the one reader of the sampled verdicts;
//! - [`tally`] finds how many packets each of them stands for;
//! - [`top_talkers`] keeps those who send most, in a sketch that no flood can grow;
//! - [`astray`] finds answers that came from or went elsewhere than asked;
//! - [`hub`] is what the rest of the daemon has of it: viewers that follow, and who sends most.

pub mod astray;
pub mod hub;
pub mod reader;
pub mod tally;
pub mod top_talkers;

pub use self::{hub::EventHub, reader::EventReader};
