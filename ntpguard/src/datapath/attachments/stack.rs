//! Devices that stand on one another, as far as a guard has to know of them.

use std::collections::{BTreeMap, BTreeSet};

use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use super::difference::{Controller, Difference};
use crate::datapath::interface::netlink;

/// A device of the network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::datapath) struct Device {
    /// Its name.
    pub(in crate::datapath) name: String,
    /// The device that it is a member of, by index.
    pub(in crate::datapath) controller: Option<u32>,
    /// What its members share, if it takes any.
    pub(in crate::datapath) controls: Option<Controller>,
    /// The device that it is a part of, as a VLAN is.
    pub(in crate::datapath) parent: Option<u32>,
}

impl Device {
    /// Reads what the kernel says of a device.
    pub(in crate::datapath) fn of(link: &LinkMessage) -> Self {
        let mut device = Self {
            name: netlink::name(link).unwrap_or_default().to_owned(),
            controls: kind(link).and_then(controls),
            ..Self::default()
        };
        for part in &link.attributes {
            match part {
                LinkAttribute::Controller(controller) => device.controller = Some(*controller),
                // A veth's is its other end.
                LinkAttribute::Link(parent) if kind(link).is_some_and(is_part) => {
                    device.parent = Some(*parent);
                }
                _ => {}
            }
        }
        let is_elsewhere = |part| matches!(part, &LinkAttribute::LinkNetNsId(_));
        if link.attributes.iter().any(is_elsewhere) {
            // Its parent is in another network namespace, and another device may have the index here.
            device.parent = None;
        }
        device
    }
}

fn kind(link: &LinkMessage) -> Option<&InfoKind> {
    let infos = link.attributes.iter().filter_map(|part| match part {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })
}

fn controls(kind: &InfoKind) -> Option<Controller> {
    match kind {
        InfoKind::Bond | InfoKind::Team => Some(Controller::Bond),
        InfoKind::Bridge => Some(Controller::Bridge),
        InfoKind::Other(kind) if kind == "openvswitch" => Some(Controller::Bridge),
        // All that a VRF's members receive goes through them.
        _ => None,
    }
}

const fn is_part(kind: &InfoKind) -> bool {
    matches!(
        kind,
        InfoKind::Vlan
            | InfoKind::MacVlan
            | InfoKind::MacVtap
            | InfoKind::IpVlan
            | InfoKind::IpVtap
    )
}

/// All that stands on a device, on what stands on it, and so on.
pub(in crate::datapath) fn above(lowest: u32, devices: &BTreeMap<u32, Device>) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut to_see = vec![lowest];
    while let Some(lower) = to_see.pop() {
        let controller = devices.get(&lower).and_then(|device| device.controller);
        let parts = devices
            .iter()
            .filter(|(_, device)| device.parent == Some(lower));
        let uppers = parts.map(|(index, _)| *index).chain(controller);
        to_see.extend(uppers.filter(|upper| found.insert(*upper)));
    }
    found.remove(&lowest);
    found
}

/// Finds the guarded interfaces that see a part of the traffic only, or all of it twice.
pub(in crate::datapath) fn standing(
    guarded: &[u32],
    devices: &BTreeMap<u32, Device>,
) -> BTreeSet<Difference> {
    let mut found = BTreeSet::new();
    for index in guarded {
        let above = above(*index, devices);
        let uppers: Vec<u32> = guarded
            .iter()
            .copied()
            .filter(|one| above.contains(one))
            .collect();
        found.extend(uppers.iter().map(|upper| Difference::Stacked {
            lower: name(*index, devices),
            upper: name(*upper, devices),
        }));
        if uppers.is_empty() {
            found.extend(partly_seen(*index, guarded, devices));
        }
    }
    found
}

/// Follows an interface to what it is a member of, and on; finds where others are members too.
fn partly_seen(
    guarded_one: u32,
    guarded: &[u32],
    devices: &BTreeMap<u32, Device>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut member = guarded_one;
    while seen.insert(member)
        && let Some(controller) = devices.get(&member).and_then(|device| device.controller)
    {
        let unguarded: Vec<String> = devices
            .iter()
            .filter(|(index, other)| {
                other.controller == Some(controller)
                    && **index != member
                    && !guarded.contains(index)
            })
            .map(|(_, other)| other.name.clone())
            .collect();
        let kind = devices.get(&controller).and_then(|device| device.controls);
        if let Some(kind) = kind.filter(|_| !unguarded.is_empty()) {
            found.push(Difference::Member {
                interface: name(member, devices),
                controller: name(controller, devices),
                kind,
                unguarded,
            });
        }
        member = controller;
    }
    found
}

fn name(index: u32, devices: &BTreeMap<u32, Device>) -> String {
    let device = devices.get(&index);
    device.map_or_else(
        || format!("interface {index}"),
        |device| device.name.clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOND: u32 = 10;

    fn device(name: &str, controller: Option<u32>, controls: Option<Controller>) -> Device {
        Device {
            name: name.to_owned(),
            controller,
            controls,
            parent: None,
        }
    }

    fn bonded(kind: Controller) -> BTreeMap<u32, Device> {
        BTreeMap::from([
            (1, device("eth1", Some(BOND), None)),
            (2, device("eth2", Some(BOND), None)),
            (3, device("eth3", None, None)),
            (BOND, device("bond0", None, Some(kind))),
        ])
    }

    #[test]
    fn a_guard_on_one_member_of_a_bond_sees_a_part_of_the_traffic() {
        let devices = bonded(Controller::Bond);
        let expected = Difference::Member {
            interface: "eth1".to_owned(),
            controller: "bond0".to_owned(),
            kind: Controller::Bond,
            unguarded: vec!["eth2".to_owned()],
        };
        assert_eq!(standing(&[1], &devices), BTreeSet::from([expected]));
        assert_eq!(standing(&[1, 2], &devices), BTreeSet::new(), "all members");
        assert_eq!(standing(&[BOND], &devices), BTreeSet::new(), "the bond");
        assert_eq!(standing(&[3], &devices), BTreeSet::new(), "another");
    }

    #[test]
    fn of_two_devices_of_one_stack_one_finds_requests_answered() {
        let devices = bonded(Controller::Bridge);
        let expected = Difference::Stacked {
            lower: "eth1".to_owned(),
            upper: "bond0".to_owned(),
        };
        assert_eq!(standing(&[1, BOND], &devices), BTreeSet::from([expected]));
        let mut devices = devices;
        devices.insert(
            20,
            Device {
                parent: Some(1),
                ..device("eth1.5", None, None)
            },
        );
        let expected = Difference::Stacked {
            lower: "eth1".to_owned(),
            upper: "eth1.5".to_owned(),
        };
        devices.get_mut(&1).unwrap().controller = None;
        assert_eq!(standing(&[1, 20], &devices), BTreeSet::from([expected]));
    }

    #[test]
    fn a_bond_that_is_a_port_of_a_bridge_is_followed() {
        let mut devices = bonded(Controller::Bond);
        devices.get_mut(&BOND).unwrap().controller = Some(30);
        devices.insert(30, device("br0", None, Some(Controller::Bridge)));
        devices.insert(31, device("tap0", Some(30), None));
        let found = standing(&[1, 2], &devices);
        let expected = Difference::Member {
            interface: "bond0".to_owned(),
            controller: "br0".to_owned(),
            kind: Controller::Bridge,
            unguarded: vec!["tap0".to_owned()],
        };
        assert_eq!(found, BTreeSet::from([expected]));
    }

    #[test]
    fn what_stands_on_what_stands_on_a_device_is_above_it() {
        let mut devices = bonded(Controller::Bond);
        let vlan = Device {
            parent: Some(BOND),
            ..device("bond0.5", None, None)
        };
        devices.insert(20, vlan);
        assert_eq!(above(1, &devices), BTreeSet::from([BOND, 20]));
        assert_eq!(above(BOND, &devices), BTreeSet::from([20]));
        assert_eq!(above(20, &devices), BTreeSet::new());
    }

    #[test]
    fn devices_that_name_each_other_are_no_endless_way() {
        let devices = BTreeMap::from([
            (1, device("a", Some(2), None)),
            (2, device("b", Some(1), None)),
        ]);
        assert_eq!(standing(&[1], &devices), BTreeSet::new());
    }
}
