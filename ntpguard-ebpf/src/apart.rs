//! Arguments of functions that stand apart: what the walk found, in numbers.
//!
//! The verifier checks a global function once, for any arguments (Linux 5.6, commit 51c39bb1d5d1),
//! and code in its caller's midst again for every way there. Behind the walk, with its tags and
//! extension headers, that makes a program that loads at once out of one that takes half a second;
//! and packets that are not NTP do not pay for the registers that the rest needs.

use ntpguard_common::{
    packet::{Datagram, Family},
    part::{Part, Proof},
};

/// More than the walk's longest way to the IP header, and to the payload. The verifier wants to
/// see that offsets are small, and cannot know what the caller does.
const NETWORK_MASK: u64 = 0x3f;
const PAYLOAD_MASK: u64 = 0x3fff;

const PAYLOAD_SHIFT: u32 = 16;
const LENGTH_SHIFT: u32 = 32;
const PORT_SHIFT: u32 = 16;
const PROOF_SHIFT: u32 = 32;

/// A datagram's offsets and length in one number, and its ports in the other.
#[inline(always)]
pub(crate) const fn pack(datagram: &Datagram) -> (u64, u64) {
    let place = datagram.network as u64
        | (datagram.payload as u64) << PAYLOAD_SHIFT
        | (datagram.payload_len as u64) << LENGTH_SHIFT;
    let ports = datagram.source_port as u64 | (datagram.destination_port as u64) << PORT_SHIFT;
    (place, ports)
}

/// The datagram again.
#[inline(always)]
pub(crate) const fn unpack(family: Family, place: u64, ports: u64) -> Datagram {
    Datagram {
        family,
        network: (place & NETWORK_MASK) as usize,
        payload: (place >> PAYLOAD_SHIFT & PAYLOAD_MASK) as usize,
        payload_len: (place >> LENGTH_SHIFT) as u16,
        source_port: ports as u16,
        destination_port: (ports >> PORT_SHIFT) as u16,
    }
}

/// The part a datagram plays, in a number.
#[inline(always)]
pub(crate) const fn pack_part(part: Part) -> u64 {
    part.roles as u64 | (part.proof as u64) << PROOF_SHIFT
}

/// The part again.
#[inline(always)]
pub(crate) const fn unpack_part(number: u64) -> Part {
    Part {
        roles: number as u32,
        proof: match number >> PROOF_SHIFT {
            0 => Proof::None,
            1 => Proof::Answer,
            _ => Proof::Association,
        },
    }
}
