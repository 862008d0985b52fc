//! Request tracking: which datagrams that leave are requests, and what is kept of them.

use core::hint::black_box;

use super::{
    access::{Access, access},
    custom_port::{self, Far},
    policy::{Learn, Policy},
};
use crate::{
    clock::Clocks,
    maps::{
        endpoint::CustomPorts,
        lookup::{Sender, TablesOf, TrackerOf},
        received::Received,
        requests::{Request, Sent},
        tables::Role,
    },
    wire::{
        address::Address,
        frame::Frame,
        ntp::{self, FirstByte, Mode, NO_TIMESTAMP, Timestamp},
        packet::{self, Datagram, Link, Packet, Wanted},
    },
};

/// What became of a frame that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// It is no request.
    Nothing,
    /// A trusted sender's request: its reply will be admitted.
    Trusted,
    /// Another's request to a granted server: its reply will be admitted.
    Granted,
    /// Another's request to this server (IPv4 as IPv4-mapped), which nobody granted: its reply will
    /// be dropped.
    Ungranted([u8; 16]),
    /// A control message to this server, likewise, which is not granted `control`: its response will be
    /// dropped.
    Control([u8; 16]),
}

/// Finds a datagram that may be a request: to port 123, or to a server at a custom port.
#[inline(always)]
pub fn request<F, T>(frame: &F, link: Link, tables: &T) -> Option<Datagram>
where
    F: Frame + ?Sized,
    T: CustomPorts,
{
    let Packet::Datagram(datagram) = packet::parse(frame, link, &ToServers(tables)) else {
        return None;
    };
    let is_request = datagram.flaw.is_none()
        && (datagram.destination_port == ntp::PORT
            || custom_port::is_asked(frame, &datagram, Far::Destination, tables));
    is_request.then_some(datagram)
}

/// Datagrams to a port at which servers may be asked.
struct ToServers<'a, T>(&'a T);

impl<T: CustomPorts> Wanted for ToServers<'_, T> {
    #[inline(always)]
    fn is(&self, datagram: &Datagram) -> bool {
        self.0.may_serve_at(datagram.destination_port)
    }
}

/// Tracks a datagram to the port of servers, if it is a request.
#[inline(always)]
pub fn track_request<A, F, C, T>(
    frame: &F,
    datagram: &Datagram,
    is_trusted: impl Fn() -> bool,
    clocks: &C,
    policy: Policy,
    tracker: &T,
) -> Tracked
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TrackerOf<A>,
{
    // No time daemon sends several at once, and of those behind the first nothing would be tracked.
    if frame.is_coalesced() {
        return Tracked::Nothing;
    }
    let Some(question) = question(frame, datagram) else {
        return control::<A, F, C, T>(frame, datagram, clocks, tracker);
    };
    let outbound = Outbound {
        frame,
        datagram,
        question,
    };
    outbound.keep::<A, C, T>(is_trusted, clocks, policy, tracker)
}

/// Looks at what is no request for the time: of a control message (RFC 9327) nothing is tracked, since its
/// response needs a grant and no more; that there is none is worth telling.
#[inline(always)]
fn control<A, F, C, T>(frame: &F, datagram: &Datagram, clocks: &C, tables: &T) -> Tracked
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    let Some([first, second]) = frame.load(datagram.payload) else {
        return Tracked::Nothing;
    };
    let is_query = FirstByte(first).mode() == Mode::Control
        && !ntp::is_response(second)
        && datagram.destination_port == ntp::PORT
        && usize::from(datagram.payload_len) >= ntp::CONTROL_HEADER_LEN;
    if !is_query {
        return Tracked::Nothing;
    }
    let server = A::destination(frame, datagram);
    match access(frame, server, None, Role::Control.bit(), clocks, tables) {
        Access::Holds(_) => Tracked::Nothing,
        _ => Tracked::Control(server.mapped()),
    }
}

/// What a request asks.
#[derive(Clone, Copy)]
struct Question {
    /// What the reply must carry.
    token: Timestamp,
    /// What it may carry instead, if the request is in interleaved mode.
    sibling: Timestamp,
    /// What the server must then have given as its receive timestamp: see
    /// [`interleaved`](crate::maps::received).
    origin: Timestamp,
    /// Whether it also makes an association.
    is_symmetric: bool,
}

impl Question {
    /// Whether the request is in interleaved mode.
    #[inline(always)]
    fn is_interleaved<A, T>(&self, server: A, local: A, tracker: &T) -> bool
    where
        A: Address,
        T: TrackerOf<A>,
    {
        self.origin != NO_TIMESTAMP
            && self.sibling != NO_TIMESTAMP
            && self.sibling != self.token
            && tracker.was_given(Received::new(server, local, self.origin))
    }
}

/// Reads a request; `None` for any other packet.
#[inline(always)]
fn question<F: Frame + ?Sized>(frame: &F, datagram: &Datagram) -> Option<Question> {
    if usize::from(datagram.payload_len) < ntp::HEADER_LEN {
        return None;
    }
    let _last = frame.load_u8(datagram.payload + ntp::HEADER_LEN - 1)?;
    let first = FirstByte(frame.load_u8(datagram.payload)?);
    let version = first.version();
    if version == 0 || version > 5 {
        return None;
    }
    let is_symmetric = match first.mode() {
        Mode::Client => false,
        Mode::SymmetricActive if version < 5 => true,
        // Version 1 had no modes (RFC 1059): its clients send 0 here.
        Mode::Reserved if version == 1 && datagram.source_port != ntp::PORT => false,
        _ => return None,
    };
    let origin = frame.field(datagram.payload + ntp::ORIGIN);
    if version == 5 {
        return Some(Question {
            token: origin,
            sibling: NO_TIMESTAMP,
            origin: NO_TIMESTAMP,
            is_symmetric,
        });
    }
    Some(Question {
        token: frame.field(datagram.payload + ntp::TRANSMIT),
        sibling: frame.field(datagram.payload + ntp::RECEIVE),
        origin,
        is_symmetric,
    })
}

/// A request on its way out.
struct Outbound<'a, F: ?Sized> {
    frame: &'a F,
    datagram: &'a Datagram,
    question: Question,
}

impl<F: Frame + ?Sized> Outbound<'_, F> {
    /// Tracks the request if its sender is trusted or its server granted.
    #[inline(always)]
    fn keep<A, C, T>(
        &self,
        is_trusted: impl Fn() -> bool,
        clocks: &C,
        policy: Policy,
        tracker: &T,
    ) -> Tracked
    where
        A: Address,
        C: Clocks,
        T: TrackerOf<A>,
    {
        let local = A::source(self.frame, self.datagram);
        let server = A::destination(self.frame, self.datagram);
        let port = self.datagram.destination_port;
        let (sender, tracked) = if policy.learn != Learn::Off && is_trusted() {
            (Sender::Trusted, Tracked::Trusted)
        } else if policy.learn == Learn::Any
            || is_granted(self.frame, server, port, clocks, tracker)
        {
            (Sender::Other, Tracked::Granted)
        } else {
            return Tracked::Ungranted(server.mapped());
        };
        let now = clocks.tick();
        self.write::<A, T>(sender, local, server, now, policy, tracker);
        let needs_no_grant = sender == Sender::Trusted || policy.learn == Learn::Any;
        // A server at a custom port is granted, and what is learned is about port 123.
        if needs_no_grant && port == ntp::PORT {
            tracker.learn(server, now);
        } else {
            tracker.asked(server, now);
        }
        tracked
    }

    #[inline(always)]
    fn write<A, T>(
        &self,
        sender: Sender,
        local: A,
        server: A,
        now: u64,
        policy: Policy,
        tracker: &T,
    ) where
        A: Address,
        T: TrackerOf<A>,
    {
        let question = self.question;
        let request = |token| Request {
            server,
            local,
            server_port: self.datagram.destination_port,
            local_port: self.datagram.source_port,
            token,
        };
        let single = Sent {
            at: now,
            sibling: NO_TIMESTAMP,
            length: u32::from(self.datagram.payload_len),
            interleaved: 0,
        };
        // The verifier is kept from following each way to this number on its own.
        let interleaved = black_box(u32::from(question.is_interleaved(server, local, tracker)));
        if question.token != NO_TIMESTAMP || policy.zero_transmit {
            let sent = Sent {
                sibling: question.sibling,
                interleaved,
                ..single
            };
            tracker.track(sender, &request(question.token), &sent);
        }
        if interleaved != 0 {
            tracker.track(sender, &request(question.sibling), &single);
        }
        if question.is_symmetric {
            tracker.track(sender, &Request::association(server, local), &single);
        }
    }
}

/// Whether somebody lets `server` answer us from `port`.
#[inline(always)]
fn is_granted<A, F, C, T>(frame: &F, server: A, port: u16, clocks: &C, tables: &T) -> bool
where
    A: Address,
    F: Frame + ?Sized,
    C: Clocks,
    T: TablesOf<A>,
{
    let roles = Role::Server.bit() | Role::Peer.bit();
    let custom_port = (port != ntp::PORT).then_some(port);
    let access = access(frame, server, custom_port, roles, clocks, tables);
    matches!(access, Access::Holds(_))
}
