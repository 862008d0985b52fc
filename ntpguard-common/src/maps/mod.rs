//! The layout of the kernel's maps, and how the judge asks them.
//!
//! - [`lookup`] is what the judge asks: a trait, which the kernel implements over the maps and tests over a
//!   model of them;
//! - [`tables`] has the names and values, [`trusted`], [`refusals`] and [`crate::wire::link_local`] those of single maps;
//! - [`prefilter`] says of most addresses that nothing is known of them, before a table is searched.

pub mod endpoint;
pub mod lookup;
pub mod prefilter;
pub mod rates;
pub mod received;
pub mod refusals;
pub mod requests;
pub mod tables;
pub mod trusted;
