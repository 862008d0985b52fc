//! Glances at a frame, which settle most of them by what stands at the usual places: no tags, options,
//! extension headers or fragments. Whatever looks unusual is left to the walk.

mod arriving;
mod leaving;

pub use arriving::{Arriving, arriving, known};
pub use leaving::is_plainly_foreign;
