//! The stages of judging what arrives and tracking what leaves.
//!
//! User space takes them one after another ([`Inline`]). In the kernel some are BPF subprograms,
//! global functions: the verifier checks one once, for any arguments (Linux 5.6, commit 51c39bb1d5d1),
//! and code in its caller's midst again for every way there. Behind the parser, with its tags and
//! extension headers, that makes a program that loads at once out of one that takes half a second; and
//! packets that are not NTP do not pay for the registers that the rest needs. What such functions are
//! given and give is numbers, made by [`packed`].

use super::{
    custom_port::{Far, is_asked},
    decide::{decide, screen},
    packed,
    policy::Policy,
    refuse::{Refused, refuse},
    track::{Tracked, request, track_request},
};
use crate::{
    clock::Clocks,
    maps::{
        endpoint::CustomPorts,
        lookup::{Tables, TablesOf, Tracker, TrackerOf},
    },
    reason::{Reason, Verdict},
    wire::{
        address::Address,
        frame::Frame,
        inner::unpack_inner,
        packet::{
            Datagram, Family, Link, OnAnyPort, OnNtpPort, Packet, Wanted as _, parse, parse_inner,
        },
    },
};

/// A frame that has arrived, and the stages by which it is judged.
pub trait Arrived {
    /// What becomes of the frame.
    type Outcome;
    /// How its bytes are read.
    type Frame: Frame + ?Sized;
    /// What is known of its source.
    type Tables: Tables;

    /// Whether there may be more of the frame than [`Self::frame`] reads.
    const MAY_HOLD_MORE: bool = false;

    /// The frame itself.
    fn frame(&self) -> &Self::Frame;

    /// What stands at its start.
    fn link(&self) -> Link;

    /// The tables.
    fn tables(&self) -> &Self::Tables;

    /// Has a frame passed that is not the guard's business.
    fn pass(&self) -> Self::Outcome;

    /// Records that the frame was judged for the [`Reason`] of this number.
    fn record(&self, reason: u32) -> Self::Outcome;

    /// Parses to a datagram that may come from a server at a custom port: see [`find`].
    fn find(&self) -> u64;

    /// Screens such a datagram: see [`screen_found`].
    fn screen(&self, found: u64) -> u64;

    /// Judges a datagram of a class, all three made by [`packed`], and gives the number of the
    /// reason: see [`decide`].
    fn decide(&self, family: Family, place: u64, ports: u64, class: u64) -> u32;

    /// Takes up a datagram that was refused, made by [`packed`], its part and reason by
    /// [`packed::pack_refusal`], and gives the number of the reason that holds in the end: see [`refuse`].
    fn refuse(&self, family: Family, place: u64, ports: u64, refused: u64) -> u32;

    /// Looks into a packet inside another: see [`look_inside`].
    fn look_inside(&self, inner: u64) -> u64;

    /// Parses all there is of the frame, for [`judge_whole`](super::arrival::judge_whole): see
    /// [`gather`].
    fn gather(&self) -> u64 {
        packed::pack_refused(Reason::HeaderChain)
    }

    /// Judges the frame by all there is of it, where [`Self::MAY_HOLD_MORE`]: gives the number of the
    /// reason or [`packed::FOREIGN`]. What is asked for this or [`Self::gather`] and has neither is dropped.
    fn judge_whole(&self) -> u32 {
        Reason::HeaderChain as u32
    }
}

/// The stage of [`Arrived::gather`]: what [`packed::unpack_gathered`] takes. It finds datagrams on any
/// port, which the stage after it tells apart.
#[inline(always)]
pub fn gather<F: Frame + ?Sized>(frame: &F, link: Link) -> u64 {
    match parse(frame, link, &OnAnyPort) {
        Packet::Foreign | Packet::OtherPorts | Packet::Cut(None) => packed::NOTHING,
        Packet::Bad(reason) | Packet::Cut(Some(reason)) => packed::pack_refused(reason),
        Packet::Inner(inner) => inner,
        Packet::Datagram(datagram) => packed::pack_found(&datagram),
    }
}

/// The stage of [`Arrived::find`]: a datagram from a port at which servers are asked, as
/// [`packed::pack_found`] makes it, or [`packed::NOTHING`].
#[inline(always)]
pub fn find<F, T>(frame: &F, link: Link, tables: &T) -> u64
where
    F: Frame + ?Sized,
    T: CustomPorts,
{
    match parse(frame, link, &OnAnyPort) {
        Packet::Datagram(datagram) if tables.may_be_asked_at(datagram.source_port) => {
            packed::pack_found(&datagram)
        }
        _ => packed::NOTHING,
    }
}

/// The stage of [`Arrived::screen`]: the part that a datagram plays, as [`packed::pack_screened`] makes
/// it, the number of the [`Reason`] to drop it, or [`packed::UNGRANTED`] if it is neither on NTP's port
/// nor from a server at a custom port. What it leaves to be decided is not decided in it, as the
/// stack of that would come on top.
#[inline(always)]
pub fn screen_found<F, T>(frame: &F, found: u64, link: Link, tables: &T) -> u64
where
    F: Frame + ?Sized,
    T: Tables,
{
    let datagram = packed::unpack_found(frame, found);
    let custom_port = is_asked(frame, &datagram, Far::Source, tables);
    if !custom_port && !OnNtpPort.is(&datagram) {
        return packed::UNGRANTED;
    }
    let flaw = packed::flaw(found);
    if flaw != 0 {
        return flaw;
    }
    match screen(frame, &datagram, link, custom_port, tables) {
        Ok(class) => packed::pack_screened(&datagram, class),
        Err(reason) => reason as u64,
    }
}

/// The stage of [`Arrived::look_inside`]: [`packed::NOTHING`] for what may arrive, [`packed::HIDDEN`]
/// for NTP and what may be NTP, or the place of one more packet inside.
#[inline(always)]
pub fn look_inside<F, T>(frame: &F, inner: u64, tables: &T) -> u64
where
    F: Frame + ?Sized,
    T: CustomPorts,
{
    let inner = unpack_inner(frame, inner);
    match parse_inner(frame, inner, &OnAnyPort) {
        Packet::Foreign | Packet::OtherPorts => packed::NOTHING,
        Packet::Bad(_) | Packet::Cut(_) => packed::HIDDEN,
        Packet::Inner(inner) => inner,
        Packet::Datagram(datagram) => {
            let is_ntp = OnNtpPort.is(&datagram) || is_asked(frame, &datagram, Far::Source, tables);
            if is_ntp {
                packed::HIDDEN
            } else {
                packed::NOTHING
            }
        }
    }
}

/// A frame that is about to leave, and the stages by which it is tracked.
pub trait Leaving {
    /// What comes of it.
    type Outcome;
    /// How the bytes are read in which the fast path finds most frames to be no requests.
    type FastFrame: Frame + ?Sized;
    /// How all bytes are read.
    type Frame: Frame + ?Sized;
    /// Where servers are asked.
    type Tables: CustomPorts;

    /// What can be read at once.
    fn fast_frame(&self) -> &Self::FastFrame;

    /// The frame itself.
    fn frame(&self) -> &Self::Frame;

    /// What stands at its start.
    fn link(&self) -> Link;

    /// The tables.
    fn tables(&self) -> &Self::Tables;

    /// Lets go a frame that is no request.
    fn pass(&self) -> Self::Outcome;

    /// Looks for a request in a frame that may be one: see [`look`].
    fn look(&self) -> Self::Outcome;

    /// Tracks a datagram to the port of servers, made by [`packed`]: see [`track_request`].
    fn track(&self, family: Family, place: u64, ports: u64) -> Self::Outcome;
}

/// A frame, and all that is needed to take its stages one after another.
#[derive(Debug)]
pub struct Inline<'a, F: ?Sized, C, T> {
    /// The frame.
    pub frame: &'a F,
    /// The clocks by which it is judged.
    pub clocks: &'a C,
    /// What is fixed beforehand.
    pub policy: Policy,
    /// What is known.
    pub tables: &'a T,
}

impl<F, C, T> Arrived for Inline<'_, F, C, T>
where
    F: Frame + ?Sized,
    C: Clocks,
    T: Tables,
{
    type Outcome = Verdict;
    type Frame = F;
    type Tables = T;

    fn frame(&self) -> &F {
        self.frame
    }

    fn link(&self) -> Link {
        self.policy.link
    }

    fn tables(&self) -> &T {
        self.tables
    }

    fn pass(&self) -> Verdict {
        Verdict::Foreign
    }

    /// There is no other number; were there one, it would not admit.
    fn record(&self, reason: u32) -> Verdict {
        Verdict::Judged(Reason::from_number(reason).unwrap_or(Reason::Malformed))
    }

    fn find(&self) -> u64 {
        find(self.frame, self.policy.link, self.tables)
    }

    fn screen(&self, found: u64) -> u64 {
        screen_found(self.frame, found, self.policy.link, self.tables)
    }

    fn decide(&self, family: Family, place: u64, ports: u64, class: u64) -> u32 {
        let Self {
            frame,
            clocks,
            policy,
            tables,
        } = *self;
        let datagram = packed::unpack(family, place, ports);
        let class = packed::unpack_class(class);
        let reason = match family {
            Family::V4 => {
                decide::<[u8; 4], F, C, T>(frame, &datagram, class, clocks, policy, tables)
            }
            Family::V6 => {
                decide::<[u8; 16], F, C, T>(frame, &datagram, class, clocks, policy, tables)
            }
        };
        reason as u32
    }

    fn refuse(&self, family: Family, place: u64, ports: u64, refused: u64) -> u32 {
        let datagram = packed::unpack(family, place, ports);
        let (class, reason) = packed::unpack_refusal(refused);
        let Some(reason) = reason else {
            return Reason::Malformed as u32;
        };
        let refused = Refused { class, reason };
        let reason = match family {
            Family::V4 => self.refuse_in::<[u8; 4]>(&datagram, refused),
            Family::V6 => self.refuse_in::<[u8; 16]>(&datagram, refused),
        };
        reason as u32
    }

    fn look_inside(&self, inner: u64) -> u64 {
        look_inside(self.frame, inner, self.tables)
    }

    fn gather(&self) -> u64 {
        gather(self.frame, self.policy.link)
    }
}

impl<F, C, T> Inline<'_, F, C, T>
where
    F: Frame + ?Sized,
    C: Clocks,
{
    fn refuse_in<A>(&self, datagram: &Datagram, refused: Refused) -> Reason
    where
        A: Address,
        T: TablesOf<A>,
    {
        let Self {
            frame,
            clocks,
            policy,
            tables,
        } = *self;
        refuse::<A, F, C, T>(frame, datagram, refused, clocks, policy, tables)
    }
}

/// As [`Inline`], for a frame that leaves.
#[derive(Debug)]
pub struct InlineLeaving<'a, F: ?Sized, C, T, S> {
    /// The frame and the rest.
    pub inline: Inline<'a, F, C, T>,
    /// Whether its sender is trusted.
    pub is_trusted: S,
}

impl<F, C, T, S> Leaving for InlineLeaving<'_, F, C, T, S>
where
    F: Frame + ?Sized,
    C: Clocks,
    T: Tracker,
    S: Fn() -> bool,
{
    type Outcome = Tracked;
    type FastFrame = F;
    type Frame = F;
    type Tables = T;

    fn fast_frame(&self) -> &F {
        self.inline.frame
    }

    fn frame(&self) -> &F {
        self.inline.frame
    }

    fn link(&self) -> Link {
        self.inline.policy.link
    }

    fn tables(&self) -> &T {
        self.inline.tables
    }

    fn pass(&self) -> Tracked {
        Tracked::Nothing
    }

    fn look(&self) -> Tracked {
        look(self)
    }

    fn track(&self, family: Family, place: u64, ports: u64) -> Tracked {
        let datagram = packed::unpack(family, place, ports);
        match family {
            Family::V4 => self.track_in::<[u8; 4]>(&datagram),
            Family::V6 => self.track_in::<[u8; 16]>(&datagram),
        }
    }
}

impl<F, C, T, S> InlineLeaving<'_, F, C, T, S>
where
    F: Frame + ?Sized,
    C: Clocks,
    S: Fn() -> bool,
{
    fn track_in<A>(&self, datagram: &Datagram) -> Tracked
    where
        A: Address,
        T: TrackerOf<A>,
    {
        let Inline {
            frame,
            clocks,
            policy,
            tables,
        } = self.inline;
        track_request::<A, F, C, T>(frame, datagram, &self.is_trusted, clocks, policy, tables)
    }
}

/// The stage of [`Leaving::look`].
#[inline(always)]
pub fn look<L: Leaving>(leaving: &L) -> L::Outcome {
    let Some(datagram) = request(leaving.frame(), leaving.link(), leaving.tables()) else {
        return leaving.pass();
    };
    let (place, ports) = packed::pack(&datagram);
    leaving.track(datagram.family, place, ports)
}
