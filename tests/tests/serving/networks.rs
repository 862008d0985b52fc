//! Networks and addresses at random, such as configurations name and clients have.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use fastrand::Rng;
use ipnet::IpNet;

/// Networks that lie within each other, apart, and at each other's edges.
pub(super) fn networks(random: &mut Rng) -> Vec<IpNet> {
    let mut networks: Vec<IpNet> = Vec::new();
    for _ in 0..random.usize(2..9) {
        let address = match networks.len() {
            0 => unicast(random),
            _ if random.u8(..4) == 0 => unicast(random),
            len => {
                let outer = networks[random.usize(..len)];
                within(random, outer)
            }
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match random.u8(..5) {
            0 => bits,
            1 => random.u8(1..=bits),
            _ => random.u8(bits / 4..=bits - bits / 8),
        };
        networks.push(IpNet::new_assert(address, length).trunc());
    }
    networks
}

/// An address that a client can have.
pub(super) fn unicast(random: &mut Rng) -> IpAddr {
    loop {
        let address: IpAddr = if random.bool() {
            Ipv4Addr::from_bits(random.u32(0x0100_0000..0xe000_0000)).into()
        } else {
            Ipv6Addr::from_bits(random.u128(..) >> 3 | 1 << 125).into()
        };
        if is_clients(address) {
            return address;
        }
    }
}

/// Whether a packet from here is taken by the kernel for another host's, and answered there.
fn is_clients(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            // Not our own network either.
            (1..224).contains(&first) && first != 127 && (first, second) != (10, 99)
        }
        IpAddr::V6(v6) => v6.octets()[0] >> 5 == 1,
    }
}

/// An address in a network: its first, its last, or any.
fn within(random: &mut Rng, network: IpNet) -> IpAddr {
    match (random.u8(..4), network) {
        (0, network) => network.network(),
        (1, network) => network.broadcast(),
        (_, IpNet::V4(v4)) => {
            let host = random.u32(..) & u32::from(v4.hostmask());
            Ipv4Addr::from_bits(v4.network().to_bits() | host).into()
        }
        (_, IpNet::V6(v6)) => {
            let host = random.u128(..) & u128::from(v6.hostmask());
            Ipv6Addr::from_bits(v6.network().to_bits() | host).into()
        }
    }
}

/// Different addresses, in the networks, beside them and elsewhere.
pub(super) fn addresses(random: &mut Rng, networks: &[IpNet], count: usize) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    while addresses.len() < count {
        let network = networks[random.usize(..networks.len())];
        let address = match random.u8(..8) {
            0 => unicast(random),
            1 | 2 => beside(random, network),
            _ => within(random, network),
        };
        // Few addresses lie in the narrow ones.
        let address = if addresses.contains(&address) {
            unicast(random)
        } else {
            address
        };
        if is_clients(address) {
            addresses.insert(address);
        }
    }
    addresses
}

/// An address that would lie in a network but for one bit of its prefix.
fn beside(random: &mut Rng, network: IpNet) -> IpAddr {
    let length = network.prefix_len();
    let bit = u32::from(length.saturating_sub(random.u8(1..4)));
    match within(random, network) {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() ^ 1 << (31 - bit.min(31))).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() ^ 1 << (127 - bit.min(127))).into(),
    }
}
