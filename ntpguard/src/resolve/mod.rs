//! Names into addresses, in time.
//!
//! [`Names`] is the whole memory of it: which names are wanted, which addresses they had, when to
//! ask again. It does no I/O and is told the time. [`Resolver`] asks DNS, and remembers nothing.

mod answer;
mod bounded;
pub(crate) mod client;
mod failure;
mod hosts;
mod message;
mod names;
mod question;
mod resolver;
mod schedule;
mod system;

pub use answer::{Answer, MAX_ADDRESSES_PER_ANSWER, Record, refusal};
pub use failure::Failure;
pub use names::{GRACE, Held, MAX_ADDRESSES_PER_NAME, NameStatus, Names};
pub use question::Question;
pub use resolver::Resolver;
pub use schedule::{CEILING, FLOOR, LONGEST_RETRY};
