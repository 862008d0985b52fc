//! The bits by which the kernel knows most strangers without a look-up ([`ntpguard_common::maps::prefilter`]),
//! and the ports at which nobody is asked ([`ntpguard_common::rule::custom_port`]).

use std::{iter, net::IpAddr};

use ipnet::IpNet;
use ntpguard_common::{
    maps::{endpoint::Ports, prefilter::GrantBits},
    wire::{address::Address, link_local},
};

use crate::allowlist::projection::Projection;

/// The sieve through which everything in `grants` falls.
pub(in crate::datapath) fn prefilter<'a>(
    grants: impl IntoIterator<Item = &'a Projection>,
) -> GrantBits {
    let mut bits = GrantBits::NONE;
    for projection in grants {
        if projection.prefixes.keys().any(|prefix| is_wide(*prefix)) {
            return GrantBits::ALL;
        }
        if !projection.prefixes.is_empty() {
            bits.set_any_prefix();
        }
        let addresses = projection.addresses.keys().map(|address| match address {
            IpAddr::V4(address) => address.octets().hash(),
            // The kernel asks for the address, whatever the interface.
            IpAddr::V6(key) => link_local::address(key.octets()).hash(),
        });
        let blocks = projection
            .prefixes
            .keys()
            .flat_map(|prefix| blocks(*prefix));
        addresses.chain(blocks).for_each(|hash| bits.set(hash));
    }
    bits
}

/// The ports at which anybody in `grants` is asked, other than 123.
pub(in crate::datapath) fn ports<'a>(grants: impl IntoIterator<Item = &'a Projection>) -> Ports {
    let mut ports = Ports::NONE;
    let servers = grants.into_iter().flat_map(|one| one.endpoints.keys());
    servers.for_each(|server| ports.set(server.port()));
    ports
}

/// Most blocks of a prefix that get a bit each; a wider prefix gets all bits.
const MOST_BLOCKS: u32 = 1 << 10;

fn is_wide(prefix: IpNet) -> bool {
    blocks_in(prefix) > MOST_BLOCKS
}

/// How many blocks a prefix touches, or the most of a number.
fn blocks_in(prefix: IpNet) -> u32 {
    let block = match prefix {
        IpNet::V4(_) => <[u8; 4]>::BLOCK,
        IpNet::V6(_) => <[u8; 16]>::BLOCK,
    };
    let bits = block.saturating_sub(prefix.prefix_len());
    1_u32.checked_shl(bits.into()).unwrap_or(u32::MAX)
}

/// The hash of each block that a prefix touches; none of a wide one.
fn blocks(prefix: IpNet) -> Box<dyn Iterator<Item = u64>> {
    if is_wide(prefix) {
        return Box::new(iter::empty());
    }
    let blocks = 0..blocks_in(prefix);
    match prefix {
        IpNet::V4(net) => {
            let first = net.network().to_bits();
            let step = 32 - u32::from(<[u8; 4]>::BLOCK);
            Box::new(blocks.map(move |block| (first + (block << step)).to_be_bytes().block_hash()))
        }
        IpNet::V6(net) => {
            let first = net.network().to_bits();
            let step = 128 - u32::from(<[u8; 16]>::BLOCK);
            Box::new(blocks.map(move |block| {
                (first + (u128::from(block) << step))
                    .to_be_bytes()
                    .block_hash()
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use ntpguard_common::maps::tables::Grant;
    use proptest::prelude::*;

    use super::*;
    use crate::scope;

    fn lets_through(prefilter: &GrantBits, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => prefilter.may_hold(address.octets()),
            IpAddr::V6(address) => prefilter.may_hold(address.octets()),
        }
    }

    fn of_prefix(prefix: &str) -> GrantBits {
        let mut grants = Projection::default();
        grants
            .prefixes
            .insert(prefix.parse().unwrap(), Grant::default());
        prefilter([&grants])
    }

    #[test]
    fn nothing_granted_lets_nothing_through() {
        let prefilter = prefilter([]);
        assert!(!lets_through(&prefilter, "192.0.2.1".parse().unwrap()));
        assert!(!lets_through(&prefilter, "2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_prefix_lets_through_its_blocks_and_few_others() {
        let prefilter = of_prefix("10.0.0.0/8");
        assert!(lets_through(&prefilter, "10.255.255.255".parse().unwrap()));
        assert!(!lets_through(&prefilter, "11.0.0.1".parse().unwrap()));
        // One for each block, beside the one of every word that says that there are prefixes.
        let blocks = (0..=255).map(|second| [10, second, 0, 0].block_hash());
        let mut expected = GrantBits::NONE;
        blocks.for_each(|hash| expected.set(hash));
        let ones = |bits: &GrantBits| bits.words.iter().map(|word| word.count_ones()).sum::<u32>();
        assert_eq!(ones(&expected), 256);
        expected.set_any_prefix();
        assert_eq!(prefilter, expected);
        let mut strangers = 0;
        for block in 0..=u16::MAX {
            let [first, second] = block.to_be_bytes();
            let through = lets_through(&prefilter, IpAddr::from([first, second, 7, 1]));
            match first {
                10 => assert!(through, "10.{second}.7.1"),
                _ => strangers += u32::from(through),
            }
        }
        // One of 64 has the bit that says that there are prefixes, and about as many have a block's.
        assert!(strangers < 65_280 / 20, "{strangers} of 65280");
    }

    #[test]
    fn a_wide_prefix_lets_everything_through() {
        for wide in ["0.0.0.0/0", "0.0.0.0/3", "::/0", "fe80::/10", "2000::/3"] {
            assert_eq!(of_prefix(wide), GrantBits::ALL, "{wide}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_granted_falls_through(
            addresses in prop::collection::vec(any::<IpAddr>(), 0..50),
            prefixes in prop::collection::vec((any::<IpAddr>(), 0..=128_u8), 0..10),
            hosts in any::<u128>(),
        ) {
            let mut grants = Projection::default();
            for address in &addresses {
                grants.addresses.insert(*address, Grant::default());
            }
            for (address, length) in prefixes {
                if let Ok(prefix) = IpNet::new(address, length) {
                    grants.prefixes.insert(prefix.trunc(), Grant::default());
                }
            }
            let prefilter = prefilter([&grants]);
            for key in addresses {
                let address = scope::of_key(key).map_or(key, |(address, _)| address.into());
                prop_assert!(lets_through(&prefilter, address));
            }
            for prefix in grants.prefixes.keys() {
                let inside = match prefix {
                    IpNet::V4(net) => {
                        IpAddr::from((net.network().to_bits() | hosts as u32 & net.hostmask().to_bits()).to_be_bytes())
                    }
                    IpNet::V6(net) => {
                        IpAddr::from((net.network().to_bits() | hosts & net.hostmask().to_bits()).to_be_bytes())
                    }
                };
                prop_assert!(lets_through(&prefilter, inside), "{inside} of {prefix}");
            }
        }
    }
}
