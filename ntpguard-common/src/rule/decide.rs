//! The judge's decision about a datagram that was found: what it is, and whether it may pass.

use super::{
    access::{Access, access, may_know},
    classify::{PacketClass, Proof, classify},
    policy::Policy,
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
/// comes from an address that nothing is known of. `custom_port` says whether its source is a server
/// that is asked there, at another port than 123.
#[inline(always)]
pub fn screen<F, T>(
    frame: &F,
    datagram: &Datagram,
    link: Link,
    custom_port: bool,
    tables: &T,
) -> Result<PacketClass, Reason>
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
    let class = classify(frame, datagram, link, custom_port)?;
    if class.custom_port {
        return Ok(class);
    }
    let may_know = match datagram.family {
        Family::V4 => may_know(<[u8; 4]>::source(frame, datagram), tables),
        Family::V6 => may_know(<[u8; 16]>::source(frame, datagram), tables),
    };
    if may_know {
        Ok(class)
    } else {
        Err(Reason::Unlisted)
    }
}

/// Judges a datagram of a class: by what its source is granted and, where its class needs one,
/// by its proof.
#[inline(always)]
pub fn decide<A, F, C, T>(
    frame: &F,
    datagram: &Datagram,
    class: PacketClass,
    clocks: &C,
    policy: Policy,
    tables: &T,
) -> Reason
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    if class.proof == Proof::Answer && policy.track {
        return proof::answer::<A, F, C, T>(frame, datagram, class, clocks, policy, tables);
    }
    let from = A::source(frame, datagram);
    let access = access(
        frame,
        from,
        class.custom_port_at(datagram),
        class.roles,
        clocks,
        tables,
    );
    if class.proof == Proof::Association && policy.track {
        return proof::association(frame, datagram, from, access, policy, tables);
    }
    if access == Access::Holds(Reason::Client)
        && !policy.rates.is_off()
        && !tables.charge(from, clocks, &policy.rates)
    {
        return Reason::Rate;
    }
    access.reason()
}
