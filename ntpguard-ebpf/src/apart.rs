//! Arguments of functions that stand apart: what the walk found, in numbers.
//!
//! The verifier checks a global function once, for any arguments (Linux 5.6, commit 51c39bb1d5d1),
//! and code in its caller's midst again for every way there. Behind the walk, with its tags and
//! extension headers, that makes a program that loads at once out of one that takes half a second;
//! and packets that are not NTP do not pay for the registers that the rest needs.

use core::hint::black_box;

use ntpguard_common::{
    frame::Frame,
    packet::{Datagram, Family},
    part::{Part, Proof},
    reason::Reason,
};

/// More than the walk's longest way to the IP header, and to the payload. The verifier wants to
/// see that offsets are small, and cannot know what the caller does.
const NETWORK_MASK: u64 = 0x3f;
const PAYLOAD_MASK: u64 = 0x3fff;

const PAYLOAD_SHIFT: u32 = 16;
const LENGTH_SHIFT: u32 = 32;
const PORT_SHIFT: u32 = 16;
const PROOF_SHIFT: u32 = 32;
const PROOF_MASK: u64 = 0x3;
const ELSEWHERE_SHIFT: u32 = 40;

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

/// Bits of what [`pack_found`] gives that [`pack`] leaves: the roles and the proof of the part, the
/// family, and that there is a datagram at all.
const FOUND_ROLES_SHIFT: u32 = 48;
const FOUND_ROLES_MASK: u64 = 0xff;
const FOUND_PROOF_SHIFT: u32 = 56;
const FOUND_V6: u64 = 1 << 62;
const FOUND: u64 = 1 << 63;
const UDP_LEN: usize = 8;

/// No datagram of a server that is asked elsewhere.
pub(crate) const NOT_FOUND: u64 = 0;

/// A datagram of a server that is asked elsewhere, without its ports, and the part that it plays, in
/// one number.
#[inline(always)]
pub(crate) const fn pack_found(datagram: &Datagram, part: Part) -> u64 {
    let family = match datagram.family {
        Family::V4 => 0,
        Family::V6 => FOUND_V6,
    };
    FOUND
        | family
        | (part.roles as u64 & FOUND_ROLES_MASK) << FOUND_ROLES_SHIFT
        | (part.proof as u64) << FOUND_PROOF_SHIFT
        | pack(datagram).0
}

/// Why one is to be dropped.
#[inline(always)]
pub(crate) const fn pack_flaw(reason: Reason) -> u64 {
    reason as u64 + 1
}

/// The datagram again, with the ports that are in the frame, and its part as [`pack_part`] gives it; or
/// the number of the reason; or nothing.
#[inline(always)]
pub(crate) fn unpack_found<F: Frame>(
    frame: &F,
    number: u64,
) -> Option<Result<(Datagram, u64), u32>> {
    if number == NOT_FOUND {
        return None;
    }
    if number & FOUND == 0 {
        // For the verifier, as in `judge`.
        return Some(Err(black_box(number as u32 - 1)));
    }
    let family = if number & FOUND_V6 == 0 {
        Family::V4
    } else {
        Family::V6
    };
    let datagram = unpack(family, number, 0);
    let udp = datagram.payload.wrapping_sub(UDP_LEN) & PAYLOAD_MASK as usize;
    let [a, b, c, d] = frame.field(udp);
    let roles = number >> FOUND_ROLES_SHIFT & FOUND_ROLES_MASK;
    let proof = number >> FOUND_PROOF_SHIFT & PROOF_MASK;
    let part = roles | proof << PROOF_SHIFT | 1 << ELSEWHERE_SHIFT;
    let datagram = Datagram {
        source_port: u16::from_be_bytes([a, b]),
        destination_port: u16::from_be_bytes([c, d]),
        ..datagram
    };
    Some(Ok((datagram, part)))
}

/// The part a datagram plays, in a number.
#[inline(always)]
pub(crate) const fn pack_part(part: Part) -> u64 {
    part.roles as u64
        | (part.proof as u64) << PROOF_SHIFT
        | (part.elsewhere as u64) << ELSEWHERE_SHIFT
}

/// The part again.
#[inline(always)]
pub(crate) const fn unpack_part(number: u64) -> Part {
    Part {
        roles: number as u32,
        proof: match number >> PROOF_SHIFT & PROOF_MASK {
            0 => Proof::None,
            1 => Proof::Answer,
            _ => Proof::Association,
        },
        elsewhere: number >> ELSEWHERE_SHIFT != 0,
    }
}
