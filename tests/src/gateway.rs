//! A router that hides a network behind its own address, as most of them do.

use anyhow::Result;

use crate::{
    link::Port,
    namespace::Namespace,
    switch::{Host, Switch},
};

/// The last part of its address on either side.
const NUMBER: u8 = 254;

/// Between two switches: hosts on the inner one reach the outer one from the gateway's address.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The gateway itself, as it is seen from outside.
    pub outer: Host,
    /// The network behind it.
    pub inner: Switch,
    near: Port,
}

impl Gateway {
    /// Puts a gateway on `outside`, and an empty network behind it.
    ///
    /// # Errors
    ///
    /// When iproute2 or nftables refuses.
    pub fn new(outside: &Switch) -> Result<Self> {
        let namespace = Namespace::new("gateway")?;
        let (outer, inner) = (outside.connect(&namespace, NUMBER)?, Switch::new()?);
        let near = inner.connect(&namespace, NUMBER)?.port;
        for setting in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            namespace.set(setting, "1")?;
        }
        let rules = [
            "add table inet nat",
            "add chain inet nat out { type nat hook postrouting priority srcnat ; }",
            &format!(
                "add rule inet nat out oifname {} masquerade",
                outer.port.interface
            ),
        ];
        for rule in rules {
            namespace.run(&["nft", rule])?;
        }
        Ok(Self { outer, inner, near })
    }

    /// Connects a host behind the gateway.
    ///
    /// # Errors
    ///
    /// When a namespace or cable cannot be made.
    pub fn client(&self, label: &str, number: u8) -> Result<Host> {
        let host = self.inner.host(label, number)?;
        for via in [
            self.inner.v4(NUMBER).to_string(),
            self.inner.v6(NUMBER).to_string(),
        ] {
            let family = if via.contains(':') { "-6" } else { "-4" };
            let route = [family, "route", "add", "default", "via", &via];
            host.namespace.ip(&route)?;
        }
        Ok(host)
    }

    /// Its interface to the network behind it.
    pub fn near(&self) -> &Port {
        &self.near
    }
}
