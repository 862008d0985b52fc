//! Sending whole frames past the host's own network stack.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, send, socket},
};

use crate::link::Port;

/// A packet socket on one interface, for sending only.
#[derive(Debug)]
pub struct RawSocket {
    socket: OwnedFd,
}

impl RawSocket {
    /// Opens a socket that sends out of `port`.
    ///
    /// # Errors
    ///
    /// When the interface is gone, or the kernel refuses.
    pub fn open(port: &Port) -> Result<Self> {
        // Protocol 0: nothing is received, so nothing fills the socket's buffer.
        let socket = open(port, None)?;
        Ok(Self { socket })
    }

    /// Sends one frame.
    ///
    /// # Errors
    ///
    /// When the interface is down, or the frame too long for it.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty())
            .context("cannot send a frame")?;
        ensure!(
            sent == frame.len(),
            "{sent} bytes of {} were sent",
            frame.len()
        );
        Ok(())
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.socket
    }
}

/// A packet socket on one interface, that receives what has this protocol.
pub(super) fn open(port: &Port, protocol: Option<SockProtocol>) -> Result<OwnedFd> {
    let name = port.interface.as_str();
    port.namespace.enter(|| {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, protocol)
            .context("cannot open a packet socket")?;
        let address = getifaddrs()
            .context("cannot list interfaces")?
            .filter(|interface| interface.interface_name == name)
            .find_map(|interface| interface.address?.as_link_addr().copied())
            .with_context(|| format!("no interface {name}"))?;
        // The address has protocol 0, with which the socket keeps its own.
        bind(socket.as_raw_fd(), &address)
            .with_context(|| format!("cannot bind a packet socket to {name}"))?;
        Ok(socket)
    })
}
