//! Devices that stand on one another: a bridge or bond and its ports, a VLAN and its parent.
//!
//! A packet goes through both, and both would judge it: the second would find its request answered
//! already.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use super::{Error, Interface, netlink::Connection};

/// Refuses interfaces of which one stands on another.
pub(super) async fn ensure_apart(interfaces: &[Interface]) -> Result<(), Error> {
    if interfaces.len() < 2 {
        return Ok(());
    }
    let connection = Connection::open()?;
    let links: Vec<LinkMessage> = connection
        .handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(|source| Error::Netlink {
            doing: "list the interfaces".to_owned(),
            source,
        })?;
    let steps: Vec<(u32, u32)> = links.iter().flat_map(steps).collect();
    for lower in interfaces {
        let above = above(lower.index, &steps);
        if let Some(upper) = interfaces.iter().find(|other| above.contains(&other.index)) {
            return Err(Error::Stacked {
                lower: lower.name.clone(),
                upper: upper.name.clone(),
            });
        }
    }
    Ok(())
}

/// The steps from a device to one that stands on it, as far as a link tells.
fn steps(link: &LinkMessage) -> impl Iterator<Item = (u32, u32)> {
    let index = link.header.index;
    link.attributes.iter().filter_map(move |part| match part {
        LinkAttribute::Controller(controller) => Some((index, *controller)),
        // A veth's is its other end.
        LinkAttribute::Link(parent) if stands_on_parent(link) => Some((*parent, index)),
        _ => None,
    })
}

fn stands_on_parent(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|part| {
        matches!(part, LinkAttribute::LinkInfo(parts) if parts.iter().any(|info| matches!(
            info,
            LinkInfo::Kind(InfoKind::Vlan | InfoKind::MacVlan | InfoKind::MacVtap | InfoKind::IpVlan | InfoKind::IpVtap)
        )))
    })
}

/// All that stands on a device, on what stands on it, and so on.
fn above(device: u32, steps: &[(u32, u32)]) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut to_see = vec![device];
    while let Some(lower) = to_see.pop() {
        let uppers = steps.iter().filter(|(from, _)| *from == lower);
        to_see.extend(
            uppers
                .map(|(_, upper)| *upper)
                .filter(|upper| found.insert(*upper)),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_on_what_stands_on_a_device_is_above_it() {
        // Two ports of a bond, a VLAN on it, another device.
        let steps = [(1, 10), (2, 10), (10, 20), (3, 30)];
        assert_eq!(above(1, &steps), BTreeSet::from([10, 20]));
        assert_eq!(above(10, &steps), BTreeSet::from([20]));
        assert_eq!(above(20, &steps), BTreeSet::new());
        assert_eq!(above(3, &[(3, 3)]), BTreeSet::from([3]));
    }
}
