//! The network interfaces, as far as a guard needs to know them.
//!
//! Asked over rtnetlink: `/sys/class/net` shows the network namespace it was mounted in, which
//! need not be this process's.

pub mod monitor;
pub(super) mod netlink;
pub(super) mod refusal;
pub(super) mod stacking;

use futures_util::TryStreamExt as _;
use ntpguard_common::wire::packet::Link;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::{
        link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
        route::{RouteAttribute, RouteHeader, RouteMessage, RouteType},
    },
};

use self::netlink::Connection;
use super::{
    Error,
    attachments::{Device, kernel},
};
use crate::scope::Interfaces;

/// An interface whose frames the guard can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What its frames start with.
    pub link: Link,
    /// Most bytes of an IP packet on it.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
}

impl Interface {
    /// Finds an interface by its name.
    pub async fn by_name(name: &str) -> Result<Self, Error> {
        let link = Connection::open()?.link_by_name(name).await?;
        Self::read(&link.ok_or_else(|| Error::NoInterface(name.to_owned()))?)
    }

    /// Finds the interface of the IPv4 default route with the lowest metric or, where there is
    /// none, of the IPv6 one.
    pub async fn default_route() -> Result<Self, Error> {
        let connection = Connection::open()?;
        let v4 = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
        let v6 = RouteMessageBuilder::<std::net::Ipv6Addr>::new().build();
        for (family, question) in [("IPv4", v4), ("IPv6", v6)] {
            let routes: Vec<RouteMessage> = connection
                .handle
                .route()
                .get(question)
                .execute()
                .try_collect()
                .await
                .map_err(|source| Error::Netlink {
                    doing: format!("list the {family} routes"),
                    source,
                })?;
            let Some(index) = best_default(&routes) else {
                continue;
            };
            let link = connection.link_by_index(index).await?;
            return Self::read(&link.ok_or_else(|| Error::NoInterface(index.to_string()))?);
        }
        Err(Error::NoDefaultRoute)
    }

    fn read(link: &LinkMessage) -> Result<Self, Error> {
        let index = link.header.index;
        let name = netlink::name(link).map_or_else(|| index.to_string(), str::to_owned);
        let mtu = link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::Mtu(mtu) => Some(*mtu),
                _ => None,
            });
        let kind = link.header.link_layer_type;
        let Some(framing) = framing(kind) else {
            return Err(Error::LinkType {
                name,
                number: kind.into(),
                kind: kind.to_string(),
            });
        };
        Ok(Self {
            index,
            name,
            link: framing,
            mtu: mtu.unwrap_or(0),
            up: link.header.flags.contains(LinkFlags::Up),
        })
    }
}

/// All interfaces of the network namespace, for addresses that are meant on one of them.
pub fn interfaces() -> Result<Interfaces, Error> {
    let links = netlink::blocking(async { kernel::all(&Connection::open()?).await })?;
    let mut interfaces = Interfaces::default();
    for link in &links {
        let (index, device) = (link.header.index, Device::of(link));
        interfaces.add(index, &device.name);
        for name in netlink::other_names(link) {
            interfaces.add_name(index, name);
        }
        if let Some(controller) = device.controller {
            interfaces.stands_on(controller, index);
        }
        if let Some(parent) = device.parent {
            interfaces.stands_on(index, parent);
        }
    }
    Ok(interfaces)
}

/// What frames of a link type start with, if it is anything the guard reads.
const fn framing(kind: LinkLayerType) -> Option<Link> {
    match kind {
        // The loopback interface puts an Ethernet header of zeros before each packet.
        LinkLayerType::Ether | LinkLayerType::Loopback => Some(Link::Ethernet),
        LinkLayerType::None | LinkLayerType::Ppp | LinkLayerType::Rawip => Some(Link::RawIp),
        _ => None,
    }
}

/// The interface of the default route with the lowest metric. The first wins among equals, as it
/// does in the kernel.
fn best_default(routes: &[RouteMessage]) -> Option<u32> {
    routes
        .iter()
        .filter(|route| {
            route.header.destination_prefix_length == 0
                && route.header.kind == RouteType::Unicast
                && route.header.table == RouteHeader::RT_TABLE_MAIN
        })
        .filter_map(|route| Some((metric(route), output(route)?)))
        .min_by_key(|(metric, _)| *metric)
        .map(|(_, index)| index)
}

fn metric(route: &RouteMessage) -> u32 {
    let metric = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Priority(metric) => Some(*metric),
            _ => None,
        });
    metric.unwrap_or(0)
}

/// Where a route leads: its own interface, or that of its first next hop.
fn output(route: &RouteMessage) -> Option<u32> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            RouteAttribute::MultiPath(hops) => hops.first().map(|hop| hop.interface_index),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::route::RouteNextHop;

    use super::*;

    fn route(prefix_length: u8, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut route = RouteMessage::default();
        route.header.destination_prefix_length = prefix_length;
        route.header.kind = RouteType::Unicast;
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.attributes = attributes;
        route
    }

    #[test]
    fn the_default_route_with_the_lowest_metric_wins() {
        let routes = [
            route(24, vec![RouteAttribute::Oif(9)]),
            route(
                0,
                vec![RouteAttribute::Oif(2), RouteAttribute::Priority(600)],
            ),
            route(
                0,
                vec![RouteAttribute::Oif(3), RouteAttribute::Priority(100)],
            ),
        ];
        assert_eq!(best_default(&routes), Some(3));
        assert_eq!(best_default(&routes[..1]), None);
    }

    #[test]
    fn an_unreachable_default_route_leads_nowhere() {
        let mut unreachable = route(0, vec![RouteAttribute::Oif(1)]);
        unreachable.header.kind = RouteType::Unreachable;
        assert_eq!(best_default(&[unreachable]), None);
    }

    #[test]
    fn a_route_of_several_hops_leads_to_the_first() {
        let mut hop = RouteNextHop::default();
        hop.interface_index = 7;
        assert_eq!(
            best_default(&[route(0, vec![RouteAttribute::MultiPath(vec![hop])])]),
            Some(7)
        );
    }

    #[test]
    fn each_link_type_is_read_as_its_frames_are_or_refused() {
        let framed = |number: u16| framing(LinkLayerType::from(number));
        for number in [1, 772] {
            assert_eq!(framed(number), Some(Link::Ethernet), "{number}");
        }
        for number in [65534, 512, 519] {
            assert_eq!(framed(number), Some(Link::RawIp), "{number}");
        }
        // CAN, IPv6 in IPv4, radiotap, a number nobody has.
        for number in [280, 776, 803, 40000] {
            assert_eq!(framed(number), None, "{number}");
        }
    }

    #[test]
    fn a_refused_link_type_is_told_by_its_number() {
        let mut link = LinkMessage::default();
        link.header.index = 4;
        link.header.link_layer_type = LinkLayerType::Can;
        link.attributes = vec![LinkAttribute::IfName("can0".to_owned())];
        let text = Interface::read(&link).unwrap_err().to_string();
        assert!(
            text.contains("can0") && text.contains("280") && text.contains("Ethernet"),
            "{text}"
        );
    }
}
