//! Servers that are asked at other ports than 123.
//!
//! Of what comes from such a port, the packets of that very address are NTP's, and nobody else's:
//! the port may be QUIC's or DNS's to all others.

use crate::{
    maps::endpoint::{CustomPorts, Endpoint},
    wire::{
        address::Address,
        frame::Frame,
        packet::{Datagram, Family},
    },
};

/// Which end of a datagram is the other host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Far {
    /// The source: it arrives.
    Source,
    /// The destination: it leaves.
    Destination,
}

impl Far {
    /// The port at this end.
    #[inline(always)]
    const fn port(self, datagram: &Datagram) -> u16 {
        match self {
            Self::Source => datagram.source_port,
            Self::Destination => datagram.destination_port,
        }
    }
}

/// Whether the far end of a datagram is a server that is asked at this port.
#[inline(always)]
pub fn is_asked<F, T>(frame: &F, datagram: &Datagram, far: Far, tables: &T) -> bool
where
    F: Frame + ?Sized,
    T: CustomPorts,
{
    let port = far.port(datagram);
    tables.may_be_asked_at(port)
        && match datagram.family {
            Family::V4 => has::<[u8; 4], F, T>(frame, datagram, far, port, tables),
            Family::V6 => has::<[u8; 16], F, T>(frame, datagram, far, port, tables),
        }
}

#[inline(always)]
fn has<A, F, T>(frame: &F, datagram: &Datagram, far: Far, port: u16, tables: &T) -> bool
where
    A: Address,
    F: Frame + ?Sized,
    T: CustomPorts,
{
    let address = match far {
        Far::Source => A::source(frame, datagram),
        Far::Destination => A::destination(frame, datagram),
    };
    let grant = tables.grant_at(Endpoint::new(address, port), frame.interface());
    grant.is_some()
}
