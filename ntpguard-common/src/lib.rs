//! What the kernel and the user-space half of ntpguard share, and the judge itself.
//!
//! [`judge::judge`] is a pure function of a packet and the tables. The same source runs in the
//! kernel, in unit tests and under fuzzing, so that what is tested is what filters: the kernel only
//! puts some of its [`stages`] into BPF subprograms.

#![no_std]

#[cfg(any(test, feature = "fixtures"))]
extern crate alloc;

pub mod address;
pub mod arrival;
pub mod elsewhere;
pub mod events;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod frame;
pub mod glance;
pub mod interleaved;
pub mod judge;
pub mod link_local;
pub mod ntp;
pub mod outbound;
pub mod packed;
pub mod packet;
pub mod part;
mod proof;
pub mod rates;
pub mod reason;
pub mod refusals;
pub mod refuse;
pub mod requests;
pub mod sieve;
pub mod stages;
pub mod tables;
pub mod teachers;
