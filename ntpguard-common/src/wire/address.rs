//! Addresses of both families, and what the judge and the tables ask of either.

use core::mem::offset_of;

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::{
    frame::Frame,
    link_local::{self, Key},
    packet::Datagram,
};
use crate::hash;

/// An address of either family, as the bytes that a packet carries: network order.
pub trait Address: Key + Copy {
    /// The length of the prefixes that the [`prefilter`](crate::maps::prefilter) knows.
    const BLOCK: u8;

    /// The sender of a datagram of this family.
    fn source<F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> Self;

    /// The receiver of a datagram of this family.
    fn destination<F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> Self;

    /// What stands for the address in the [`prefilter`](crate::maps::prefilter).
    fn hash(self) -> u64;

    /// What stands there for every address of the same block: of the first [`Self::BLOCK`] bits.
    fn block_hash(self) -> u64;

    /// The address for tables of both families: IPv4 as IPv4-mapped (RFC 4291 section 2.5.5.2).
    fn mapped(self) -> [u8; 16];

    /// Whether it is a multicast group's.
    fn is_group(self) -> bool;

    /// What one client is taken to have of the address: IPv4 all of it, IPv6 its /64.
    fn client(self) -> u64;
}

impl Address for [u8; 4] {
    const BLOCK: u8 = 16;

    #[inline(always)]
    fn source<F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> Self {
        frame.field(datagram.network + offset_of!(Ipv4Hdr, src_addr))
    }

    #[inline(always)]
    fn destination<F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> Self {
        frame.field(datagram.network + offset_of!(Ipv4Hdr, dst_addr))
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        hash::scatter(u32::from_ne_bytes(self).into())
    }

    #[inline(always)]
    fn block_hash(self) -> u64 {
        let [a, b, _, _] = self;
        hash::scatter(u16::from_ne_bytes([a, b]).into())
    }

    #[inline(always)]
    fn mapped(self) -> [u8; 16] {
        let [a, b, c, d] = self;
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
    }

    #[inline(always)]
    fn is_group(self) -> bool {
        self[0] >> 4 == 0xe
    }

    #[inline(always)]
    fn client(self) -> u64 {
        u32::from_le_bytes(self).into()
    }
}

impl Address for [u8; 16] {
    const BLOCK: u8 = 32;

    #[inline(always)]
    fn source<F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> Self {
        frame.field(datagram.network + offset_of!(Ipv6Hdr, src_addr))
    }

    #[inline(always)]
    fn destination<F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> Self {
        frame.field(datagram.network + offset_of!(Ipv6Hdr, dst_addr))
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        hash::scatter_wide(u128::from_be_bytes(self))
    }

    #[inline(always)]
    fn block_hash(self) -> u64 {
        let [a, b, c, d, ..] = self;
        hash::scatter(u32::from_ne_bytes([a, b, c, d]).into())
    }

    #[inline(always)]
    fn mapped(self) -> [u8; 16] {
        self
    }

    #[inline(always)]
    fn is_group(self) -> bool {
        self[0] == 0xff
    }

    #[inline(always)]
    fn client(self) -> u64 {
        // The first eight bytes.
        u128::from_le_bytes(self) as u64
    }
}

/// IPv4's link-local addresses (169.254.0.0/16) are taken to be the same everywhere: no daemon has an
/// interface after them.
impl Key for [u8; 4] {
    #[inline(always)]
    fn address(&self) -> [u8; 16] {
        [0; 16]
    }

    #[inline(always)]
    fn set_interface(&mut self, _interface: u32) {}
}

impl Key for [u8; 16] {
    #[inline(always)]
    fn address(&self) -> [u8; 16] {
        *self
    }

    #[inline(always)]
    fn set_interface(&mut self, interface: u32) {
        link_local::set_interface(self, interface);
    }
}
