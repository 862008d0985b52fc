//! Servers that are asked at other ports than 123, as the maps hold them.

use core::net::{IpAddr, SocketAddr};

use super::tables::Grant;
use crate::wire::{
    address::Address,
    link_local::{self, Key},
    ntp,
};

/// A server and the port that it is asked at: the key of the `ALLOW_ENDPOINT` map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct Endpoint {
    /// The server's address, IPv4 as IPv4-mapped.
    pub address: [u8; 16],
    /// Its port, in host byte order; never 123.
    pub port: u16,
}

impl Endpoint {
    /// The server at this address and port.
    #[inline(always)]
    pub fn new<A: Address>(address: A, port: u16) -> Self {
        Self {
            address: address.mapped(),
            port,
        }
    }
}

impl Key for Endpoint {
    #[inline(always)]
    fn address(&self) -> [u8; 16] {
        self.address
    }

    #[inline(always)]
    fn set_interface(&mut self, interface: u32) {
        link_local::set_interface(&mut self.address, interface);
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(server: SocketAddr) -> Self {
        match server {
            SocketAddr::V4(server) => Self::new(server.ip().octets(), server.port()),
            SocketAddr::V6(server) => Self::new(server.ip().octets(), server.port()),
        }
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(IpAddr::from(endpoint.address).to_canonical(), endpoint.port)
    }
}

/// The ports at which servers are asked: the value of the `PORT_BITS` map, a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Ports {
    /// The bits, 64 in a word.
    pub words: [u64; Self::WORDS],
}

impl Ports {
    const WORDS: usize = 1 << 10;

    /// None set.
    pub const NONE: Self = Self {
        words: [0; Self::WORDS],
    };

    /// Whether the bit of a port is set.
    #[inline(always)]
    pub const fn has(&self, port: u16) -> bool {
        let (word, mask) = Self::place(port);
        self.words[word] & mask != 0
    }

    /// Sets the bit of a port.
    pub const fn set(&mut self, port: u16) {
        let (word, mask) = Self::place(port);
        self.words[word] |= mask;
    }

    #[inline(always)]
    const fn place(port: u16) -> (usize, u64) {
        (port as usize >> 6, 1 << (port & 0x3f))
    }
}

/// What the judge asks about servers that are asked at other ports than 123.
pub trait CustomPorts {
    /// Whether servers may be asked at other ports than 123 at all.
    fn has_custom_ports(&self) -> bool;

    /// Whether any server is asked at `port`. Cheaper than to look for one, and right whenever it
    /// says no.
    fn may_be_asked_at(&self, port: u16) -> bool;

    /// What is granted to a server at this address and port, on the interface of an index; a copy.
    fn grant_at(&self, server: Endpoint, interface: u32) -> Option<Grant>;

    /// Whether a server may be asked at `port`, NTP's own or another.
    #[inline(always)]
    fn may_serve_at(&self, port: u16) -> bool {
        port == ntp::PORT || self.may_be_asked_at(port)
    }
}

#[cfg(feature = "user")]
// SAFETY: repr(C), made of integers alone, without padding, valid for every bit pattern.
unsafe impl aya::Pod for Endpoint {}

#[cfg(feature = "user")]
// SAFETY: as for Endpoint.
unsafe impl aya::Pod for Ports {}

// Padding would make keys that look the same differ.
const _: () = assert!(size_of::<Endpoint>() == 18);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_has_a_bit_of_its_own() {
        let mut ports = Ports::NONE;
        for port in 0..=u16::MAX {
            assert!(!ports.has(port), "{port}");
            ports.set(port);
            assert!(ports.has(port), "{port}");
        }
    }

    #[test]
    fn an_endpoint_is_a_socket_address() {
        for server in ["192.0.2.1:1123", "[2001:db8::1]:1123"] {
            let server: SocketAddr = server.parse().unwrap();
            assert_eq!(SocketAddr::from(Endpoint::from(server)), server);
        }
    }
}
