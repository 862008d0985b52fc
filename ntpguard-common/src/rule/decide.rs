//! The judge's decision about a datagram that was found: what it is, and whether it may pass.

use super::{
    access::{Standing, may_know, standing},
    classify::{Part, Proof, part},
    policy::Limits,
    proof,
};
use crate::{
    clock::Clocks,
    maps::lookup::{Tables, TablesOf},
    reason::Reason,
    wire::{
        address::Address,
        frame::Frame,
        packet::{Datagram, Family, Link},
    },
};

/// Finds the part a datagram plays, or why to drop it without a look-up: it is flawed, can play none, or
/// comes from an address that nothing is known of. `elsewhere` says whether its source is a server
/// that is asked there, at another port than 123.
#[inline(always)]
pub fn screen<F, T>(
    frame: &F,
    datagram: &Datagram,
    link: Link,
    elsewhere: bool,
    tables: &T,
) -> Result<Part, Reason>
where
    F: Frame + ?Sized,
    T: Tables,
{
    if let Some(flaw) = datagram.flaw {
        return Err(flaw);
    }
    if frame.is_coalesced() {
        return Err(Reason::Coalesced);
    }
    let part = part(frame, datagram, link, elsewhere)?;
    if part.elsewhere {
        return Ok(part);
    }
    let may_know = match datagram.family {
        Family::V4 => may_know(<[u8; 4]>::source(frame, datagram), tables),
        Family::V6 => may_know(<[u8; 16]>::source(frame, datagram), tables),
    };
    if may_know {
        Ok(part)
    } else {
        Err(Reason::Unlisted)
    }
}

/// Judges a datagram that may play its part: by what its source may be and, where its part has one,
/// by its proof.
#[inline(always)]
pub fn decide<A, F, C, T>(
    frame: &F,
    datagram: &Datagram,
    part: Part,
    clocks: &C,
    limits: Limits,
    tables: &T,
) -> Reason
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    if part.proof == Proof::Answer && limits.track {
        return proof::answer::<A, F, C, T>(frame, datagram, part, clocks, limits, tables);
    }
    let from = A::source(frame, datagram);
    let standing = standing(
        frame,
        from,
        part.elsewhere_at(datagram),
        part.roles,
        clocks,
        tables,
    );
    if part.proof == Proof::Association && limits.track {
        return proof::association(frame, datagram, from, standing, limits, tables);
    }
    if standing == Standing::Holds(Reason::Client)
        && !limits.rates.is_off()
        && !tables.charge(from, clocks, &limits.rates)
    {
        return Reason::Rate;
    }
    standing.reason()
}
