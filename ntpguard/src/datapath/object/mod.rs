//! The compiled kernel half, which this program carries with it.
//!
//! - [`settings`] is what is fixed in a program when it is loaded, `constants` the same as the object has it;
//! - [`loader`] reads the object into the kernel, `programs` loads what is needed of it;
//! - [`chained`] makes the object that libxdp takes, with `btf` for its maps;
//! - `memory` gives back what loading took.

pub(super) mod btf;
pub mod chained;
pub(super) mod constants;
pub mod loader;
pub(super) mod memory;
pub(super) mod programs;
pub mod settings;
