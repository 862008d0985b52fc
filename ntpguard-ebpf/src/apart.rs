//! Arguments of functions that stand apart: what the walk found, in numbers.
//!
//! The verifier checks a global function once, for any arguments (Linux 5.6, commit 51c39bb1d5d1),
//! and code in its caller's midst again for every way there. Behind the walk, with its tags and
//! extension headers, that makes a program that loads at once out of one that takes half a second;
//! and packets that are not NTP do not pay for the registers that the rest needs.

use ntpguard_common::{
    frame::Frame,
    packet::{Datagram, Family, NETWORK_MASK, PAYLOAD_MASK},
    part::{Part, Proof},
};

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

/// The datagram again. The verifier wants to see that offsets are small, and cannot know what the
/// caller does.
#[inline(always)]
pub(crate) const fn unpack(family: Family, place: u64, ports: u64) -> Datagram {
    Datagram {
        family,
        network: place as usize & NETWORK_MASK,
        payload: (place >> PAYLOAD_SHIFT) as usize & PAYLOAD_MASK,
        payload_len: (place >> LENGTH_SHIFT) as u16,
        source_port: ports as u16,
        destination_port: (ports >> PORT_SHIFT) as u16,
        flaw: None,
    }
}

/// Bits of what [`pack_found`] gives beside those of a place.
const FLAW_SHIFT: u32 = 48;
const FLAW_MASK: u64 = 0x1f;
const V6: u64 = 1 << 62;
const FOUND: u64 = 1 << 63;
const UDP_LEN: usize = 8;

/// In the place of a datagram in a number: there is none.
pub(crate) const NOTHING: u64 = 0;

/// A datagram in one number, without its ports.
#[inline(always)]
pub(crate) const fn pack_found(datagram: &Datagram) -> u64 {
    let family = match datagram.family {
        Family::V4 => 0,
        Family::V6 => V6,
    };
    let flaw = match datagram.flaw {
        Some(reason) => reason as u64,
        None => 0,
    };
    FOUND | family | flaw << FLAW_SHIFT | pack(datagram).0
}

/// The datagram again, with the ports that are in the frame.
#[inline(always)]
pub(crate) fn unpack_found<F: Frame>(frame: &F, found: u64) -> Datagram {
    let datagram = unpack(family(found), found, 0);
    let udp = datagram.payload.wrapping_sub(UDP_LEN) & PAYLOAD_MASK;
    let [a, b, c, d] = frame.field(udp);
    Datagram {
        source_port: u16::from_be_bytes([a, b]),
        destination_port: u16::from_be_bytes([c, d]),
        ..datagram
    }
}

/// The number of the reason that is wrong with it, or 0.
#[inline(always)]
pub(crate) const fn flaw(found: u64) -> u64 {
    found >> FLAW_SHIFT & FLAW_MASK
}

/// The IP version of what was found.
#[inline(always)]
pub(crate) const fn family(found: u64) -> Family {
    if found & V6 == 0 {
        Family::V4
    } else {
        Family::V6
    }
}

/// In the place of a reason's number: the packet comes from no server that is asked elsewhere.
pub(crate) const NOBODYS: u64 = u32::MAX as u64;

/// Bits of what [`pack_screened`] gives beside those of the ports.
const SCREENED: u64 = 1 << 63;
const ROLES_SHIFT: u32 = 32;
const ROLES_MASK: u64 = 0xff;
const SCREENED_PROOF_SHIFT: u32 = 40;
const SCREENED_ELSEWHERE_SHIFT: u32 = 42;

/// The ports of a datagram of a server that is asked elsewhere, and the part that it plays, in one
/// number that is none of a reason.
#[inline(always)]
pub(crate) const fn pack_screened(datagram: &Datagram, part: Part) -> u64 {
    let (_, ports) = pack(datagram);
    SCREENED
        | (part.roles as u64 & ROLES_MASK) << ROLES_SHIFT
        | (part.proof as u64) << SCREENED_PROOF_SHIFT
        | (part.elsewhere as u64) << SCREENED_ELSEWHERE_SHIFT
        | ports
}

/// The ports and the part again, as [`pack`] and [`pack_part`] give them; `None` for the number of a
/// reason.
#[inline(always)]
pub(crate) const fn unpack_screened(number: u64) -> Option<(u64, u64)> {
    if number & SCREENED == 0 {
        return None;
    }
    let roles = number >> ROLES_SHIFT & ROLES_MASK;
    let proof = number >> SCREENED_PROOF_SHIFT & PROOF_MASK;
    let elsewhere = number >> SCREENED_ELSEWHERE_SHIFT & 1;
    let part = roles | proof << PROOF_SHIFT | elsewhere << ELSEWHERE_SHIFT;
    Some((number & u32::MAX as u64, part))
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
