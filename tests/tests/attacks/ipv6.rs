//! Where an IPv6 header tells what follows it, how long that is, and where it ends; and the numbers of
//! some headers that may follow.

pub(super) const V6_NEXT: usize = 6;
pub(super) const V6_PAYLOAD_LEN: usize = 4;
pub(super) const V6_LEN: usize = 40;
pub(super) const HOP_BY_HOP: u8 = 0;
pub(super) const ROUTING: u8 = 43;
pub(super) const FRAGMENT: u8 = 44;
pub(super) const DESTINATION_OPTIONS: u8 = 60;
