//! Links between namespaces.

use std::net::IpAddr;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{names, namespace::Namespace, process};

/// One interface of a namespace.
#[derive(Clone, Debug)]
pub struct Port {
    /// Where it is.
    pub namespace: Namespace,
    /// Its name there.
    pub interface: String,
    /// Its index there.
    pub index: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
}

/// What may be asked of a veth pair.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The largest IP packet in bytes; the kernel's 1500 if not given.
    pub mtu: Option<u32>,
    /// Whether both ends merge packets they receive (generic receive offload). An end with
    /// this receives frames that XDP sends, also without an XDP program of its own.
    pub gro: bool,
}

/// A veth pair: a cable between two namespaces. It goes when either namespace does.
#[derive(Clone, Debug)]
pub struct Veth {
    /// The end in the first namespace.
    pub left: Port,
    /// The end in the second namespace.
    pub right: Port,
}

impl Veth {
    /// Lays a cable, gives its ends their addresses (`10.0.0.1/24`, `fd00::1/64`), and brings it
    /// up.
    ///
    /// # Errors
    ///
    /// When iproute2 refuses.
    pub fn between(
        left: &Namespace,
        left_addresses: &[&str],
        right: &Namespace,
        right_addresses: &[&str],
    ) -> Result<Self> {
        Self::with(
            Options::default(),
            left,
            left_addresses,
            right,
            right_addresses,
        )
    }

    /// As [`Veth::between`], with options.
    ///
    /// # Errors
    ///
    /// When iproute2 or ethtool refuses.
    pub fn with(
        options: Options,
        left: &Namespace,
        left_addresses: &[&str],
        right: &Namespace,
        right_addresses: &[&str],
    ) -> Result<Self> {
        let number = names::number();
        let (a, b) = (format!("v{number}a"), format!("v{number}b"));
        let near = ["link", "add", &a, "netns", left.name(), "type", "veth"];
        let far = ["peer", "name", &b, "netns", right.name()];
        process::run_program("ip", &[&near[..], &far[..]].concat())?;
        prepare(left, &a, left_addresses, options)?;
        prepare(right, &b, right_addresses, options)?;
        Ok(Self {
            left: Port::find(left, &a)?,
            right: Port::find(right, &b)?,
        })
    }
}

impl Port {
    /// Looks up an interface of `namespace`.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn find(namespace: &Namespace, interface: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Shown {
            ifindex: u32,
            #[serde(default)]
            address: String,
        }
        let printed = namespace.ip(&["-json", "link", "show", "dev", interface])?;
        let shown: Vec<Shown> =
            serde_json::from_str(&printed).with_context(|| format!("not JSON: {printed}"))?;
        let shown = shown
            .first()
            .with_context(|| format!("no interface {interface}"))?;
        let mut mac = [0; 6];
        for (byte, digits) in mac.iter_mut().zip(shown.address.split(':')) {
            // Raw-IP interfaces have no address.
            *byte = u8::from_str_radix(digits, 16).unwrap_or(0);
        }
        Ok(Self {
            namespace: namespace.clone(),
            interface: interface.to_owned(),
            index: shown.ifindex,
            mac,
        })
    }

    /// Gives the interface one more address, usable at once: `10.0.0.7/24`.
    ///
    /// # Errors
    ///
    /// When iproute2 refuses.
    pub fn add_address(&self, address: &str) -> Result<()> {
        add_address(&self.namespace, &self.interface, address)
    }

    /// Teaches the interface's host the Ethernet address of a neighbour that does not answer
    /// for itself, as with a forged source.
    ///
    /// # Errors
    ///
    /// When iproute2 refuses.
    pub fn add_neighbour(&self, address: IpAddr, mac: [u8; 6]) -> Result<()> {
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        let line = [
            "neigh",
            "replace",
            &address.to_string(),
            "lladdr",
            &mac,
            "dev",
        ];
        self.namespace
            .ip(&[&line[..], &[&self.interface]].concat())
            .map(drop)
    }
}

fn prepare(
    namespace: &Namespace,
    interface: &str,
    addresses: &[&str],
    options: Options,
) -> Result<()> {
    if let Some(mtu) = options.mtu {
        namespace.ip(&["link", "set", interface, "mtu", &mtu.to_string()])?;
    }
    if options.gro {
        namespace.run(&["ethtool", "--features", interface, "gro", "on"])?;
    }
    for address in addresses {
        add_address(namespace, interface, address)?;
    }
    namespace.ip(&["link", "set", interface, "up"]).map(drop)
}

pub(crate) fn add_address(namespace: &Namespace, interface: &str, address: &str) -> Result<()> {
    let mut line = vec!["address", "add", address, "dev", interface];
    if address.contains(':') {
        // Usable at once, without asking the link whether somebody else has it.
        line.push("nodad");
    }
    namespace.ip(&line).map(drop)
}
