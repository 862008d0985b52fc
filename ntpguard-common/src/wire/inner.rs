//! A packet inside another one that this host takes out, and its place in one number.

use super::{
    frame::Frame,
    packet::{Family, PAYLOAD_MASK},
};

/// Bits of a number that has the place of something in a frame.
pub(crate) const INSIDE: u64 = 1 << 60;
pub(crate) const V6: u64 = 1 << 62;

/// A packet behind a routing header, which a host at the end of the route takes out by itself and puts
/// where the whole arrived: `ipv6_srh_rcv` and `ipv6_rpl_srh_rcv` in Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// What it is, as the header before it says.
    pub family: Family,
    /// Offset of its IP header.
    pub network: usize,
}

/// Where a packet inside another is, in a number that says nothing else.
#[inline(always)]
pub const fn pack_inner(inner: Inner) -> u64 {
    let family = match inner.family {
        Family::V4 => 0,
        Family::V6 => V6,
    };
    INSIDE | family | inner.network as u64
}

/// The place again.
#[inline(always)]
pub fn unpack_inner<F: Frame + ?Sized>(frame: &F, number: u64) -> Inner {
    Inner {
        family: family(number),
        network: frame.mask_opaque(number as usize, PAYLOAD_MASK),
    }
}

/// The IP version of what was found.
#[inline(always)]
pub const fn family(found: u64) -> Family {
    if found & V6 == 0 {
        Family::V4
    } else {
        Family::V6
    }
}
