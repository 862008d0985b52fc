//! Reading what is in a frame, and nothing else.
//!
//! [`frame`] is access to its bytes, [`packet`] the parser from the link header to UDP (the slow path),
//! [`crate::rule::fast_path`] the same for the shapes that most frames have, [`ntp`] the NTP header, [`address`] what the
//! two families have in common.

pub mod address;
pub mod frame;
pub mod inner;
pub mod link_local;
pub mod ntp;
pub mod packet;
