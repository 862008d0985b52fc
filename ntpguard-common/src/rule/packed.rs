//! Arguments of BPF subprograms: what the parser found, in numbers.
//!
//! See [`stages`](super::stages) for what subprograms are for. They take and give numbers, and of
//! a number that it is given the verifier knows nothing: so whatever is unpacked is within bounds,
//! whatever it is unpacked from.

use super::classify::{PacketClass, Proof};
use crate::{
    reason::Reason,
    wire::{
        frame::Frame,
        inner::{INSIDE, V6, family},
        packet::{Datagram, Family, NETWORK_MASK, PAYLOAD_MASK},
    },
};

const PAYLOAD_SHIFT: u32 = 16;
const LENGTH_SHIFT: u32 = 32;
const PORT_SHIFT: u32 = 16;
const PROOF_SHIFT: u32 = 32;
const PROOF_MASK: u64 = 0x3;
const CUSTOM_PORT_SHIFT: u32 = 40;

/// A datagram's offsets and length in one number, and its ports in the other.
#[inline(always)]
pub const fn pack(datagram: &Datagram) -> (u64, u64) {
    let place = datagram.network as u64
        | (datagram.payload as u64) << PAYLOAD_SHIFT
        | (datagram.payload_len as u64) << LENGTH_SHIFT;
    let ports = datagram.source_port as u64 | (datagram.destination_port as u64) << PORT_SHIFT;
    (place, ports)
}

/// The datagram again, without its flaw.
#[inline(always)]
pub const fn unpack(family: Family, place: u64, ports: u64) -> Datagram {
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
const FLAW_MASK: u64 = 0xff;
const REFUSED: u64 = 1 << 61;
const FOUND: u64 = 1 << 63;
const UDP_LEN: usize = 8;

const _: () = {
    let mut number = 0;
    while number < Reason::ALL.len() {
        let reason = Reason::ALL[number];
        assert!(reason as u64 & FLAW_MASK == reason as u64);
        // That number says that there is no flaw.
        assert!(reason as u64 != 0 || reason.admits());
        number += 1;
    }
    assert!(FLAW_MASK << FLAW_SHIFT < INSIDE);
};

/// In the place of a datagram in a number: there is none.
pub const NOTHING: u64 = 0;

/// A datagram in one number, without its ports.
#[inline(always)]
pub const fn pack_found(datagram: &Datagram) -> u64 {
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

/// The datagram again, without its flaw and with the ports that are in the frame.
#[inline(always)]
pub fn unpack_found<F: Frame + ?Sized>(frame: &F, found: u64) -> Datagram {
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
pub const fn flaw(found: u64) -> u64 {
    found >> FLAW_SHIFT & FLAW_MASK
}

/// In the place of a packet inside another: it holds, or may hide, what does not arrive inside.
pub const HIDDEN: u64 = 1;

/// A reason to drop a frame, in the place of what is found in it.
#[inline(always)]
pub const fn pack_refused(reason: Reason) -> u64 {
    REFUSED | reason as u64
}

/// What parsing all of a frame came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gathered {
    /// Nothing of the guard's business.
    Foreign,
    /// The frame is dropped for the reason of this number.
    Dropped(u32),
    /// A packet inside another: see [`unpack_inner`](crate::wire::inner::unpack_inner).
    Inner(u64),
    /// A datagram on any port: see [`unpack_found`].
    Found(u64),
}

/// What such a number says.
#[inline(always)]
pub const fn unpack_gathered(number: u64) -> Gathered {
    if number & FOUND != 0 {
        Gathered::Found(number)
    } else if number & REFUSED != 0 {
        Gathered::Dropped(number as u32)
    } else if number & INSIDE != 0 {
        Gathered::Inner(number)
    } else {
        Gathered::Foreign
    }
}

/// In the place of a reason's number: the frame is none of the guard's business.
pub const FOREIGN: u32 = u32::MAX;

/// In the place of a reason's number: what was read of the frame is not enough to judge it by.
pub const UNREAD: u32 = u32::MAX - 1;

/// In the place of a reason's number: the packet comes from no server at a custom port.
pub const UNGRANTED: u64 = u32::MAX as u64;

/// Bits of what [`pack_screened`] gives beside those of the ports.
const SCREENED: u64 = 1 << 63;
const ROLES_SHIFT: u32 = 32;
const ROLES_MASK: u64 = 0xff;
const SCREENED_PROOF_SHIFT: u32 = 40;
const SCREENED_CUSTOM_PORT_SHIFT: u32 = 42;

/// The ports of a datagram of a server at a custom port, and its class, in one
/// number that is none of a reason.
#[inline(always)]
pub const fn pack_screened(datagram: &Datagram, class: PacketClass) -> u64 {
    let (_, ports) = pack(datagram);
    SCREENED
        | (class.roles as u64 & ROLES_MASK) << ROLES_SHIFT
        | (class.proof as u64) << SCREENED_PROOF_SHIFT
        | (class.custom_port as u64) << SCREENED_CUSTOM_PORT_SHIFT
        | ports
}

/// What became of a datagram that was screened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screened {
    /// It comes from no server at a custom port.
    Ungranted,
    /// It is dropped for the reason of this number.
    Dropped(u32),
    /// It has a class: its ports as [`pack`] gives them, and the class as [`pack_class`] does.
    Class {
        /// See [`unpack`].
        ports: u64,
        /// See [`unpack_class`].
        class: u64,
    },
}

/// What the number of a screened datagram says.
#[inline(always)]
pub const fn unpack_screened(number: u64) -> Screened {
    if number == UNGRANTED {
        return Screened::Ungranted;
    }
    if number & SCREENED == 0 {
        return Screened::Dropped(number as u32);
    }
    let roles = number >> ROLES_SHIFT & ROLES_MASK;
    let proof = number >> SCREENED_PROOF_SHIFT & PROOF_MASK;
    let custom_port = number >> SCREENED_CUSTOM_PORT_SHIFT & 1;
    Screened::Class {
        ports: number & u32::MAX as u64,
        class: roles | proof << PROOF_SHIFT | custom_port << CUSTOM_PORT_SHIFT,
    }
}

/// The part a datagram plays, in a number.
#[inline(always)]
pub const fn pack_class(class: PacketClass) -> u64 {
    class.roles as u64
        | (class.proof as u64) << PROOF_SHIFT
        | (class.custom_port as u64) << CUSTOM_PORT_SHIFT
}

/// No class, of what may come from a server at a custom port.
pub const CUSTOM_PORT_CLASS: u64 = 1 << CUSTOM_PORT_SHIFT;

/// The part again.
#[inline(always)]
pub const fn unpack_class(number: u64) -> PacketClass {
    PacketClass {
        roles: number as u32,
        proof: match number >> PROOF_SHIFT & PROOF_MASK {
            0 => Proof::None,
            1 => Proof::Answer,
            _ => Proof::Association,
        },
        custom_port: number >> CUSTOM_PORT_SHIFT != 0,
    }
}

const REASON_SHIFT: u32 = 48;
const REASON_MASK: u64 = 0xff;

/// The part that a refused packet plays, as [`pack_class`] gives it, and the number of the reason.
#[inline(always)]
pub const fn pack_refusal(class: u64, reason: u32) -> u64 {
    class | (reason as u64 & REASON_MASK) << REASON_SHIFT
}

/// What was refused, and why; without the reason, if there is none of that number.
#[inline(always)]
pub const fn unpack_refusal(number: u64) -> (PacketClass, Option<Reason>) {
    let class = number & !(REASON_MASK << REASON_SHIFT);
    let reason = (number >> REASON_SHIFT & REASON_MASK) as u32;
    (unpack_class(class), Reason::from_number(reason))
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::{option, prelude::*, sample::select};

    use super::*;
    use crate::wire::inner::{Inner, pack_inner, unpack_inner};

    fn datagram() -> impl Strategy<Value = Datagram> {
        let family = prop_oneof![Just(Family::V4), Just(Family::V6)];
        let flaws: Vec<Reason> = Reason::ALL
            .iter()
            .copied()
            .filter(|reason| !reason.admits())
            .collect();
        let flaw = option::of(select(flaws));
        let numbers = (0..=NETWORK_MASK, UDP_LEN..=PAYLOAD_MASK, any::<[u16; 3]>());
        (family, numbers, flaw).prop_map(|(family, (network, payload, words), flaw)| {
            let [payload_len, source_port, destination_port] = words;
            Datagram {
                family,
                network,
                payload,
                payload_len,
                source_port,
                destination_port,
                flaw,
            }
        })
    }

    fn classify() -> impl Strategy<Value = PacketClass> {
        let proof = select(vec![Proof::None, Proof::Answer, Proof::Association]);
        (0..=ROLES_MASK as u32, proof, any::<bool>()).prop_map(|(roles, proof, custom_port)| {
            PacketClass {
                roles,
                proof,
                custom_port,
            }
        })
    }

    /// A frame with nothing in it but a datagram's ports.
    fn with_ports(datagram: &Datagram) -> Vec<u8> {
        let mut frame = vec![0; datagram.payload];
        let udp = datagram.payload - UDP_LEN;
        frame[udp..udp + 2].copy_from_slice(&datagram.source_port.to_be_bytes());
        frame[udp + 2..udp + 4].copy_from_slice(&datagram.destination_port.to_be_bytes());
        frame
    }

    proptest! {
        #[test]
        fn a_datagram_is_unpacked_as_it_was_packed(datagram in datagram()) {
            let (place, ports) = pack(&datagram);
            let flawless = Datagram { flaw: None, ..datagram };
            prop_assert_eq!(unpack(datagram.family, place, ports), flawless);
        }

        #[test]
        fn what_was_found_is_unpacked_with_its_flaw(datagram in datagram()) {
            let found = pack_found(&datagram);
            prop_assert_eq!(unpack_gathered(found), Gathered::Found(found));
            prop_assert_eq!(family(found), datagram.family);
            prop_assert_eq!(flaw(found), datagram.flaw.map_or(0, |reason| reason as u64));
            let flawless = Datagram { flaw: None, ..datagram };
            prop_assert_eq!(unpack_found(&with_ports(&datagram)[..], found), flawless);
            // The stage that decides is given the same number for a place.
            let (_, ports) = pack(&datagram);
            prop_assert_eq!(unpack(datagram.family, found, ports), flawless);
        }

        #[test]
        fn a_place_inside_is_unpacked_as_it_was_packed(network in 0..=PAYLOAD_MASK, v6: bool) {
            let family = if v6 { Family::V6 } else { Family::V4 };
            let inner = Inner { family, network };
            let number = pack_inner(inner);
            prop_assert!(![NOTHING, HIDDEN].contains(&number));
            prop_assert_eq!(unpack_gathered(number), Gathered::Inner(number));
            prop_assert_eq!(unpack_inner(&[][..], number), inner);
        }

        #[test]
        fn a_part_is_unpacked_as_it_was_packed(class in classify()) {
            prop_assert_eq!(unpack_class(pack_class(class)), class);
        }

        #[test]
        fn a_refusal_is_its_part_and_its_reason(class in classify(), number in 0..Reason::ALL.len()) {
            let reason = Reason::ALL[number];
            let packed = pack_refusal(pack_class(class), reason as u32);
            prop_assert_eq!(unpack_refusal(packed), (class, Some(reason)));
        }

        #[test]
        fn what_was_screened_is_its_ports_and_its_part(datagram in datagram(), class in classify()) {
            let screened = unpack_screened(pack_screened(&datagram, class));
            let (_, ports) = pack(&datagram);
            prop_assert_eq!(screened, Screened::Class { ports, class: pack_class(class) });
        }

        #[test]
        fn whatever_is_unpacked_is_within_bounds(place: u64, ports: u64) {
            let datagram = unpack(Family::V6, place, ports);
            prop_assert!(datagram.network <= NETWORK_MASK && datagram.payload <= PAYLOAD_MASK);
            let found = unpack_found(&[][..], place);
            prop_assert!(found.network <= NETWORK_MASK && found.payload <= PAYLOAD_MASK);
            prop_assert!(unpack_inner(&[][..], place).network <= PAYLOAD_MASK);
        }
    }

    #[test]
    fn what_was_screened_can_be_any_reason_or_none() {
        assert_eq!(unpack_gathered(NOTHING), Gathered::Foreign);
        for reason in Reason::ALL {
            let number = *reason as u32;
            assert_eq!(unpack_screened(number.into()), Screened::Dropped(number));
            let refused = unpack_gathered(pack_refused(*reason));
            assert_eq!(refused, Gathered::Dropped(number));
        }
        assert_eq!(unpack_screened(UNGRANTED), Screened::Ungranted);
    }

    #[test]
    fn every_role_fits() {
        use crate::maps::tables::Role;
        for role in Role::ALL {
            assert_eq!(u64::from(role.bit()) & ROLES_MASK, u64::from(role.bit()));
        }
    }
}
