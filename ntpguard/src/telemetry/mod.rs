//! What the kernel tells of the packets that it judges, for whoever wants to see it.
//!
//! - [`teller`] is the one reader of the sampled verdicts;
//! - [`tally`] finds how many packets each of them stands for;
//! - [`senders`] keeps those who send most, in a sketch that no flood can grow;
//! - [`astray`] finds answers that came from or went elsewhere than asked;
//! - [`news`] is what the rest of the daemon has of it: viewers that follow, and who sends most.

pub mod astray;
pub mod news;
pub mod senders;
pub mod tally;
pub mod teller;

pub use self::{news::News, teller::Teller};
