//! The layout of the kernel's maps, and how the judge asks them.
//!
//! - [`lookup`] is what the judge asks: a trait, which the kernel implements over the maps and tests over a
//!   model of them;
//! - [`tables`] has the names and values, [`trusted`], [`refusals`] and [`link_local`] those of single maps;
//! - [`prefilter`] says of most addresses that nothing is known of them, before a table is searched.

pub(crate) mod hash;
pub mod link_local;
pub mod lookup;
pub mod prefilter;
pub mod refusals;
pub mod tables;
pub mod trusted;
