//! What the kernel's tables are to hold.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use ntpguard_common::tables::Grant;

/// The grants as the kernel sees them: the contents of the `ALLOW_*` maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Single addresses: `ALLOW_V4` and `ALLOW_V6`.
    pub addresses: BTreeMap<IpAddr, Grant>,
    /// Prefixes shorter than an address, host bits zero: `ALLOW_NET_V4` and `ALLOW_NET_V6`.
    pub prefixes: BTreeMap<IpNet, Grant>,
    /// Servers that are asked at another port than 123, with that port.
    pub elsewhere: BTreeMap<SocketAddr, Grant>,
}
