//! The kernel's maps from user space.
//!
//! - [`tables`] opens them and reads and writes entries; `apply` writes what differs from what is wanted, in
//!   an order in which no grant is missing; `prefilter` sets the bits that are asked before the tables;
//! - `info` is what `INFO` says of interfaces;
//! - [`event_ring`] reads sampled verdicts, `open_requests` the requests that are not answered.

pub(super) mod apply;
pub mod event_ring;
pub(super) mod info;
pub(super) mod open_requests;
pub(super) mod prefilter;
pub mod tables;
