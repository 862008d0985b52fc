//! One set of grants, made of everything that vouches for an address.
//!
//! Truth is a list of [`claim::Claim`]s, kept in the [`state`] file. The kernel's tables are its
//! [`projection::Projection`], computed by the pure [`projection::project`].

pub(crate) mod authority;
pub(crate) mod budget;
pub mod claim;
mod claims;
pub mod daemons;
mod digest;
pub mod learned;
pub mod manual;
pub mod projection;
mod readings;
pub mod room;
mod row;
mod servers;
pub mod state;
#[cfg(any(test, feature = "fuzzing"))]
pub mod trial;

pub use claims::Book;
pub use manual::ManualError;
pub use row::Row;
