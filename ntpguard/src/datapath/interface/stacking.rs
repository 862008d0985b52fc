//! Devices that stand on one another: a bridge or bond and its ports, a VLAN and its parent.
//!
//! A packet goes through both, and both would judge it: the second would find its request answered
//! already.

use std::collections::BTreeMap;

use super::netlink::Connection;
use crate::datapath::{
    Error, Interface,
    attachments::{Device, above, kernel},
};

/// Refuses interfaces of which one stands on another.
pub(in crate::datapath) async fn ensure_apart(interfaces: &[Interface]) -> Result<(), Error> {
    if interfaces.len() < 2 {
        return Ok(());
    }
    let links = kernel::all(&Connection::open()?).await?;
    let devices: BTreeMap<u32, Device> = links
        .iter()
        .map(|link| (link.header.index, Device::of(link)))
        .collect();
    for lower in interfaces {
        let above = above(lower.index, &devices);
        if let Some(upper) = interfaces.iter().find(|other| above.contains(&other.index)) {
            return Err(Error::Stacked {
                lower: lower.name.clone(),
                upper: upper.name.clone(),
            });
        }
    }
    Ok(())
}
