//! One set of grants, made of everything that vouches for an address.
//!
//! Truth is a list of [`claim::Claim`]s, kept in the [`state`] file. The kernel's tables are its
//! [`projection::Projection`], computed by the pure [`projection::project`].

pub(crate) mod authority;
pub mod claim;
mod claims;
mod digest;
pub mod projection;
pub mod room;
mod row;
pub mod state;
#[cfg(any(test, feature = "fuzzing"))]
pub mod trial;

pub use claims::{ClaimSet, manual::ManualError};
pub use row::Row;
