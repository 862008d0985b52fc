//! Glances at a frame, which settle most of them by what stands at the usual places: no tags, options,
//! extension headers or fragments. Whatever looks unusual is left to the walk.

pub(crate) mod egress;
pub(crate) mod ingress;

pub use egress::is_plainly_foreign;
pub use ingress::{Arriving, arriving, known};
