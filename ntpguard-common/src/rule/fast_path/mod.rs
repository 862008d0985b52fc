//! The fast path: settles most frames by what stands at the usual places: no tags, options,
//! extension headers or fragments. Whatever looks unusual is left to the parser (the slow path).

pub(crate) mod egress;
pub(crate) mod ingress;

pub use egress::is_plainly_foreign;
pub use ingress::{Arriving, arriving, known};
