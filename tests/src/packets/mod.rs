//! Packets that a test makes itself, and what becomes of them.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{namespace::Namespace, wait::eventually};

pub mod flood;
pub mod frame;
pub mod ntp;
pub mod raw;
pub mod recorder;
pub mod sink;

/// How long a socket that was closed may still have its port: a program that another test is just
/// starting has a copy of it until it runs.
const CLOSING: Duration = Duration::from_secs(1);

/// A UDP socket in `namespace`, bound to an address that it has: `10.0.0.7:123`, say.
///
/// # Errors
///
/// When the address or port cannot be had.
pub fn udp(namespace: &Namespace, local: SocketAddr) -> Result<UdpSocket> {
    namespace.enter(|| {
        eventually(CLOSING, "a free port", || {
            UdpSocket::bind(local).with_context(|| format!("cannot bind {local}"))
        })
    })
}

/// Sends one datagram from an address and port that `namespace` has.
///
/// # Errors
///
/// When the address or port cannot be had, or there is no way to `to`.
pub fn send(namespace: &Namespace, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Result<()> {
    let socket = udp(namespace, from)?;
    socket
        .send_to(payload, to)
        .with_context(|| format!("cannot send from {from} to {to}"))?;
    Ok(())
}
