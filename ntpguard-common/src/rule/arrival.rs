//! From a frame that arrives to the reason why it is admitted or dropped: which stage of the judge comes
//! when.

use super::{
    classify::PacketClass,
    decide::screen,
    fast_path::{Arriving, arriving, known},
    packed::{self, Gathered, Screened},
    stages::Arrived,
};
use crate::{
    maps::{endpoint::CustomPorts as _, refusals::Cause},
    reason::Reason,
    wire::{
        frame::Frame,
        inner::family,
        ntp,
        packet::{Datagram, Family, MAX_INNER_PACKETS, OnNtpPort, Packet, parse},
    },
};

/// Judges a frame that arrives at this host, in the stages of whoever judges it. The kernel's programs
/// call this.
///
/// The fast path settles most frames.
#[inline(always)]
pub fn judge_arrived<A: Arrived>(arrived: &A) -> A::Outcome {
    let reason = match arriving(arrived.frame(), arrived.link(), arrived.tables()) {
        Arriving::Foreign => return arrived.pass(),
        // With reasons that are constants, what a flood consists of is recorded faster.
        Arriving::Stranger => return arrived.record(Reason::Unlisted as u32),
        Arriving::Private => return arrived.record(Reason::Private as u32),
        Arriving::Known => {
            let (datagram, class) = known(arrived.frame(), arrived.link());
            decide_in_class(arrived, &datagram, class)
        }
        Arriving::Unusual => match reason_of_unusual(arrived) {
            Some(reason) => reason,
            None => return arrived.pass(),
        },
    };
    arrived.record(reason)
}

/// As [`judge_arrived`], for a frame that the fast path does not settle: it is right for every frame.
#[inline(always)]
pub fn judge_unusual<A: Arrived>(arrived: &A) -> A::Outcome {
    match reason_of_unusual(arrived) {
        Some(reason) => arrived.record(reason),
        None => arrived.pass(),
    }
}

/// Parses a frame and judges what it is; `None` if that is not the guard's business. Without
/// closures, which are not always inlined.
#[inline(always)]
fn reason_of_unusual<A: Arrived>(arrived: &A) -> Option<u32> {
    let reason = match parse(arrived.frame(), arrived.link(), &OnNtpPort) {
        Packet::Cut(_) | Packet::Inner(_) if A::MAY_HOLD_MORE => Some(packed::UNREAD),
        Packet::Foreign | Packet::Cut(None) => None,
        Packet::Bad(reason) | Packet::Cut(Some(reason)) => Some(reason as u32),
        Packet::OtherPorts => judge_custom_port(arrived),
        Packet::Inner(inner) => judge_inside(arrived, inner),
        Packet::Datagram(datagram) => Some(judge_parsed(arrived, &datagram)),
    };
    // In one place, which costs the others the fewest registers.
    if A::MAY_HOLD_MORE && reason == Some(packed::UNREAD) {
        return whole(arrived);
    }
    reason
}

/// Judges a datagram on NTP's port.
#[inline(always)]
fn judge_parsed<A: Arrived>(arrived: &A, datagram: &Datagram) -> u32 {
    if datagram.source_port != ntp::PORT
        && let Some(reason) = judge_custom_port(arrived)
    {
        return reason;
    }
    judge_datagram(arrived, datagram)
}

/// Judges a frame by all there is of it.
#[inline(always)]
fn whole<A: Arrived>(arrived: &A) -> Option<u32> {
    match arrived.judge_whole() {
        packed::FOREIGN => None,
        reason => Some(reason),
    }
}

/// The stage of [`Arrived::judge_whole`], for a frame that reads all there is. It has stages of its own,
/// and little on its stack beside theirs.
#[inline(always)]
pub fn judge_whole<A: Arrived>(whole: &A) -> u32 {
    let reason = match packed::unpack_gathered(whole.gather()) {
        Gathered::Foreign => None,
        Gathered::Dropped(reason) => Some(reason),
        Gathered::Inner(inner) => judge_inside(whole, inner),
        Gathered::Found(found) => judge_found(whole, found),
    };
    match reason {
        Some(reason) => reason,
        None => packed::FOREIGN,
    }
}

/// Looks into a packet inside another, and into what is inside that. What a host would take for NTP there
/// is dropped, since none of those who are granted anything sends it so; `None` for all else.
#[inline(always)]
fn judge_inside<A: Arrived>(arrived: &A, mut inner: u64) -> Option<u32> {
    for _ in 0..MAX_INNER_PACKETS {
        inner = arrived.look_inside(inner);
        if inner == packed::NOTHING {
            return None;
        }
        if inner == packed::HIDDEN {
            break;
        }
    }
    Some(Reason::HeaderChain as u32)
}

/// Judges a datagram that comes from no server at a custom port. What is too short may only have
/// been read too short.
#[inline(always)]
fn judge_datagram<A: Arrived>(arrived: &A, datagram: &Datagram) -> u32 {
    match screen(
        arrived.frame(),
        datagram,
        arrived.link(),
        false,
        arrived.tables(),
    ) {
        Ok(class) => decide_in_class(arrived, datagram, class),
        Err(Reason::Length) if A::MAY_HOLD_MORE => packed::UNREAD,
        // It may be a broadcast to a group, which the first buffer does not show.
        Err(Reason::Mode) if A::MAY_HOLD_MORE && is_cut_off(arrived.frame(), datagram) => {
            packed::UNREAD
        }
        // Nothing is known of its address.
        Err(Reason::Unlisted) => Reason::Unlisted as u32,
        Err(reason) => {
            let (place, ports) = packed::pack(datagram);
            refuse_if_counted(arrived, datagram.family, place, ports, 0, reason as u32)
        }
    }
}

/// Whether a header of NTP's, if the datagram has one, is not all there.
#[inline(always)]
fn is_cut_off<F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> bool {
    let last: Option<[u8; 4]> = frame.load(datagram.payload + ntp::HEADER_LEN - 4);
    last.is_none()
}

#[inline(always)]
fn decide_in_class<A: Arrived>(arrived: &A, datagram: &Datagram, class: PacketClass) -> u32 {
    let (place, ports) = packed::pack(datagram);
    decide_or_refuse(
        arrived,
        datagram.family,
        place,
        ports,
        packed::pack_class(class),
    )
}

/// Decides on a datagram, and takes it up again where that refuses it.
#[inline(always)]
fn decide_or_refuse<A: Arrived>(
    arrived: &A,
    family: Family,
    place: u64,
    ports: u64,
    class: u64,
) -> u32 {
    let reason = arrived.decide(family, place, ports, class);
    refuse_if_counted(arrived, family, place, ports, class, reason)
}

/// The reasons that are counted by server, a bit for each.
const COUNTED: u64 = {
    let mut bits = 0;
    let mut number = 0;
    while number < Reason::ALL.len() {
        if Cause::of(Reason::ALL[number], 0).is_some() {
            bits |= 1 << Reason::ALL[number] as u32;
        }
        number += 1;
    }
    bits
};

#[inline(always)]
fn refuse_if_counted<A: Arrived>(
    arrived: &A,
    family: Family,
    place: u64,
    ports: u64,
    class: u64,
    reason: u32,
) -> u32 {
    if COUNTED >> (reason & 0x3f) & 1 == 0 {
        return reason;
    }
    arrived.refuse(family, place, ports, packed::pack_refusal(class, reason))
}

/// Judges a frame that comes from a server at a custom port; `None` for any other.
///
/// It is parsed again for that, as a stage of its own: what the parser found already would have to be
/// kept over the look at the port, and cost all packets.
#[inline(always)]
fn judge_custom_port<A: Arrived>(arrived: &A) -> Option<u32> {
    if !arrived.tables().has_custom_ports() {
        return None;
    }
    let found = arrived.find();
    if found == packed::NOTHING {
        return None;
    }
    if A::MAY_HOLD_MORE {
        return Some(packed::UNREAD);
    }
    judge_found(arrived, found)
}

/// Judges a datagram that a stage of its own found; `None` if it is not the guard's business.
#[inline(always)]
fn judge_found<A: Arrived>(arrived: &A, found: u64) -> Option<u32> {
    match packed::unpack_screened(arrived.screen(found)) {
        Screened::Ungranted => None,
        Screened::Dropped(reason) if reason == Reason::Unlisted as u32 => Some(reason),
        Screened::Dropped(reason) => {
            let family = family(found);
            let (_, ports) = packed::pack(&packed::unpack_found(arrived.frame(), found));
            let class = packed::CUSTOM_PORT_CLASS;
            Some(refuse_if_counted(
                arrived, family, found, ports, class, reason,
            ))
        }
        Screened::Class { ports, class } => Some(decide_or_refuse(
            arrived,
            family(found),
            found,
            ports,
            class,
        )),
    }
}
