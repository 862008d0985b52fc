//! What may pass, and why.
//!
//! [`judge`] is the whole rule in one function. It is made of the [`stages`] of a packet that arrives, in the
//! order of [`arrival`]: [`classify`] says which role a packet needs, `access` whether its source has it,
//! `proof` whether a reply answers a request, [`refuse`] under which reason it is refused. [`outbound`] is
//! the other way: which requests are tracked. [`policy`] is what is fixed while a program is loaded.

pub(crate) mod access;
pub mod arrival;
pub mod classify;
pub mod custom_port;
pub mod decide;
pub mod fast_path;
pub mod judge;
pub mod outbound;
pub mod packed;
pub mod policy;
mod proof;
pub mod refuse;
pub mod stages;
pub mod track;
