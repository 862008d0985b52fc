//! The judge, and what the kernel and the user-space half of ntpguard share.
//!
//! [`rule::judge::judge`] is a pure function of a packet and the maps. The same source runs in the kernel,
//! in unit tests and under fuzzing, so that what is tested is what filters: the kernel only puts some of
//! the judge's [`rule::stages`] into BPF subprograms.
//!
//! - [`wire`] reads what is in a frame;
//! - [`rule`] decides what may pass, and why;
//! - [`maps`] is the layout of the kernel's maps, and how they are asked;
//! - [`reason`] is what each packet is counted under, [`events`] what is sampled of it, [`clock`] the clocks
//!   that packets are judged by, [`rule::packed`] the arguments of BPF subprograms.

#![no_std]

#[cfg(any(test, feature = "fixtures"))]
extern crate alloc;

pub mod clock;
pub mod events;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
mod hash;
pub mod maps;
pub mod reason;
pub mod rule;
pub mod wire;
