//! A switch with hosts: a small network like an office's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::{
    link::{Port, Veth},
    names,
    namespace::Namespace,
};

const BRIDGE: &str = "br0";

/// A bridge in a namespace of its own, with the networks `10.99.N.0/24` and
/// `fd00:99:N::/64`.
#[derive(Clone, Debug)]
pub struct Switch {
    namespace: Namespace,
    network: u8,
}

/// A namespace with one interface, on a switch.
#[derive(Clone, Debug)]
pub struct Host {
    /// The namespace.
    pub namespace: Namespace,
    /// Its interface to the switch.
    pub port: Port,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

impl Switch {
    /// Makes a switch without hosts.
    ///
    /// # Errors
    ///
    /// When a namespace or bridge cannot be made.
    pub fn new() -> Result<Self> {
        let namespace = Namespace::new("switch")?;
        // Learning who listens to multicast takes a bridge longer than a test has.
        let line = [
            "link",
            "add",
            BRIDGE,
            "type",
            "bridge",
            "mcast_snooping",
            "0",
        ];
        namespace.ip(&line)?;
        namespace.ip(&["link", "set", BRIDGE, "up"])?;
        let network = u8::try_from(names::number() % 250)?;
        Ok(Self { namespace, network })
    }

    /// The IPv4 address of host number `host`.
    pub fn v4(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.network, host)
    }

    /// The IPv6 address of host number `host`.
    pub fn v6(&self, host: u8) -> Ipv6Addr {
        Ipv6Addr::new(
            0xfd00,
            0x99,
            u16::from(self.network),
            0,
            0,
            0,
            0,
            u16::from(host),
        )
    }

    /// Connects a new host, with addresses that end in `number`.
    ///
    /// # Errors
    ///
    /// When a namespace or cable cannot be made.
    pub fn host(&self, label: &str, number: u8) -> Result<Host> {
        let namespace = Namespace::new(label)?;
        let (v4, v6) = (self.v4(number), self.v6(number));
        let addresses = [format!("{v4}/24"), format!("{v6}/64")];
        let cable = Veth::between(
            &namespace,
            &addresses.each_ref().map(String::as_str),
            &self.namespace,
            &[],
        )?;
        let line = ["link", "set", &cable.right.interface, "master", BRIDGE];
        self.namespace.ip(&line)?;
        Ok(Host {
            namespace,
            port: cable.left,
            v4,
            v6,
        })
    }
}

impl Host {
    /// Its addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}
