//! Listening on a wire: what passes an interface, both ways.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use nix::{
    errno::Errno,
    sys::{
        socket::{MsgFlags, SockProtocol, recv, setsockopt, sockopt},
        time::TimeVal,
    },
};

use super::{raw, sink::ROOM};
use crate::link::Port;

/// How often it looks whether its time is over.
const TICK: TimeVal = TimeVal::new(0, 20_000);

/// A socket that sees every frame of one interface from when it was opened.
#[derive(Debug)]
pub struct Recorder {
    socket: OwnedFd,
}

/// A datagram that passed.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// The whole frame.
    pub frame: Vec<u8>,
    /// Where it came from.
    pub from: SocketAddr,
    /// Where it went.
    pub to: SocketAddr,
    /// What it carried.
    pub payload: Vec<u8>,
}

impl Recorder {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// When the interface is gone, or the kernel refuses.
    pub fn open(port: &Port) -> Result<Self> {
        let socket = raw::open(port, Some(SockProtocol::EthAll))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TICK)?;
        setsockopt(&socket, sockopt::RcvBufForce, &ROOM).context("cannot make room for frames")?;
        Ok(Self { socket })
    }

    /// The next datagram that `wanted` takes; others are passed over.
    ///
    /// # Errors
    ///
    /// When none passes within `limit`.
    pub fn next(&self, limit: Duration, wanted: impl Fn(&Datagram) -> bool) -> Result<Datagram> {
        let end = Instant::now() + limit;
        let mut frame = vec![0; usize::from(u16::MAX)];
        let mut others = 0;
        loop {
            ensure!(
                Instant::now() < end,
                "no such datagram passed within {limit:?}, and {others} others"
            );
            let len = match recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
                Ok(len) => len,
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(error) => return Err(error).context("cannot listen on an interface"),
            };
            let datagram = frame.get(..len).and_then(|frame| datagram(frame).ok());
            match datagram {
                Some(datagram) if wanted(&datagram) => return Ok(datagram),
                _ => others += 1,
            }
        }
    }
}

fn datagram(frame: &[u8]) -> Result<Datagram> {
    let sliced = SlicedPacket::from_ethernet(frame)?;
    let (from, to): (IpAddr, IpAddr) = match sliced.net {
        Some(NetSlice::Ipv4(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        Some(NetSlice::Ipv6(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        _ => bail!("not IP"),
    };
    let Some(TransportSlice::Udp(udp)) = sliced.transport else {
        bail!("not UDP");
    };
    Ok(Datagram {
        frame: frame.to_vec(),
        from: SocketAddr::new(from, udp.source_port()),
        to: SocketAddr::new(to, udp.destination_port()),
        payload: udp.payload().to_vec(),
    })
}
