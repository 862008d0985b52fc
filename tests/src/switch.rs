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
        self.connect(&Namespace::new(label)?, number)
    }

    /// Connects a host that is there, with addresses that end in `number`.
    ///
    /// # Errors
    ///
    /// When a cable cannot be laid.
    pub fn connect(&self, namespace: &Namespace, number: u8) -> Result<Host> {
        let (v4, v6) = (self.v4(number), self.v6(number));
        let addresses = [format!("{v4}/24"), format!("{v6}/64")];
        let cable = Veth::between(
            namespace,
            &addresses.each_ref().map(String::as_str),
            &self.namespace,
            &[],
        )?;
        let line = ["link", "set", &cable.right.interface, "master", BRIDGE];
        self.namespace.ip(&line)?;
        Ok(Host {
            namespace: namespace.clone(),
            port: cable.left,
            v4,
            v6,
        })
    }
}

impl Host {
    /// Gives it one more address of each family, ending in `number`.
    ///
    /// # Errors
    ///
    /// When iproute2 refuses.
    pub fn add_addresses(&self, switch: &Switch, number: u8) -> Result<[IpAddr; 2]> {
        let (v4, v6) = (switch.v4(number), switch.v6(number));
        self.port.add_address(&format!("{v4}/24"))?;
        self.port.add_address(&format!("{v6}/64"))?;
        Ok([v4.into(), v6.into()])
    }

    /// Its addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}
