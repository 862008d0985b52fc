//! One set of grants, made of everything that vouches for an address.
//!
//! Truth is a list of [`claim::Claim`]s, kept in the [`state`] file. The kernel's tables are its
//! [`projection`], computed by the pure [`union`].

mod book;
pub mod claim;
pub mod daemons;
pub mod learned;
pub mod projection;
pub mod state;
pub mod union;

pub(crate) use book::question;
pub use book::{Book, ManualError};
