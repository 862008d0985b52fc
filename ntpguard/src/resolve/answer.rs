//! What DNS answered, and which of it can be believed.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::Failure;
use crate::sources::Family;

/// Most addresses that one answer can add. `pool.ntp.org` gives four, so this is many; and it keeps
/// one poisoned answer from filling a name's whole share.
pub const MAX_ADDRESSES_PER_ANSWER: usize = 256;

/// One address record as it came from DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The address.
    pub address: IpAddr,
    /// Time to live in seconds: the record's own, or that of an alias on the way if less.
    pub ttl: u32,
}

/// What DNS answered, as far as it can be believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The addresses, sorted, each once, at most [`MAX_ADDRESSES_PER_ANSWER`].
    pub addresses: Vec<IpAddr>,
    /// The least time to live of all the records, in seconds.
    pub ttl: u32,
    /// Addresses left out because no server can have them, sorted, with what each is.
    pub refused: Vec<(IpAddr, &'static str)>,
    /// How many addresses were left out because the answer held too many.
    pub over_cap: usize,
    /// The family that was asked for and not answered, because its server failed: nothing is known
    /// of its addresses now, while the other family's are here.
    pub unanswered: Option<Family>,
}

impl Answer {
    /// Makes an answer of the records that DNS gave: at least one, or it is no answer.
    pub fn new(
        records: impl IntoIterator<Item = Record>,
        unanswered: Option<Family>,
    ) -> Result<Self, Failure> {
        let mut ttl = u32::MAX;
        let (mut v4, mut v6, mut refused) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for record in records {
            ttl = ttl.min(believable_ttl(record.ttl));
            match (refusal(record.address), record.address) {
                (Some(why), address) => refused.insert((address, why)),
                (None, IpAddr::V4(address)) => v4.insert(address),
                (None, IpAddr::V6(address)) => v6.insert(address),
            };
        }
        let refused: Vec<_> = refused.into_iter().collect();
        let all = v4.len() + v6.len();
        match (all, refused.is_empty()) {
            (0, true) => return Err(Failure::NoAddresses),
            (0, false) => return Err(Failure::OnlyRefused { refused }),
            _ => {}
        }
        let (room_v4, room_v6) = rooms(v4.len(), v6.len());
        let v4 = v4.into_iter().take(room_v4).map(IpAddr::V4);
        let v6 = v6.into_iter().take(room_v6).map(IpAddr::V6);
        let addresses: Vec<_> = v4.chain(v6).collect();
        let over_cap = all - addresses.len();
        Ok(Self {
            addresses,
            ttl,
            refused,
            over_cap,
            unanswered,
        })
    }
}

/// How many of so many addresses of each family fit: one family's flood leaves half to the other.
fn rooms(v4: usize, v6: usize) -> (usize, usize) {
    const HALF: usize = MAX_ADDRESSES_PER_ANSWER / 2;
    let room_v6 = v6.min(HALF.max(MAX_ADDRESSES_PER_ANSWER.saturating_sub(v4)));
    (v4.min(MAX_ADDRESSES_PER_ANSWER - room_v6), room_v6)
}

/// RFC 2181 section 8: a time to live with its highest bit set is to be read as zero.
const fn believable_ttl(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// Says what an address is if no server can have it, so that DNS cannot open the guard to it.
///
/// Private, link-local and unique local addresses are none of these: cloud providers serve time
/// from 169.254.169.123 and `fd00:ec2::123`.
pub const fn refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

const fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [255, 255, 255, 255] => Some("the broadcast address"),
        [0, 0, 0, 0] => Some("unspecified"),
        [0, ..] => Some("of this network (0.0.0.0/8)"),
        [127, ..] => Some("loopback"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved (240.0.0.0/4)"),
        _ => None,
    }
}

const fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0, 0, 0, 0, 0, 0xffff, ..] => Some("IPv4-mapped (::ffff:0:0/96)"),
        [0, 0, 0, 0, 0, 0, ..] => Some("IPv4-compatible (::/96)"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        [0xfe80..=0xfebf, _, 0, 0, ..] => None,
        [0xfe80..=0xfebf, ..] => Some("not a link-local address (RFC 4291 section 2.5.6)"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(address: &str, ttl: u32) -> Record {
        Record {
            address: address.parse().unwrap(),
            ttl,
        }
    }

    fn answer(records: &[Record]) -> Answer {
        Answer::new(records.iter().copied(), None).unwrap()
    }

    #[test]
    fn addresses_that_no_server_can_have_are_refused() {
        let refused = [
            "127.0.0.1",
            "127.255.255.255",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.1.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.254",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::192.0.2.1",
            "::ffff:192.0.2.1",
            "::ffff:127.0.0.1",
            "ff02::101",
            "ff0e::101",
        ];
        for address in refused {
            assert!(refusal(address.parse().unwrap()).is_some(), "{address}");
        }
    }

    #[test]
    fn addresses_that_real_servers_have_are_not_refused() {
        let allowed = [
            "192.0.2.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.123",
            "1.0.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "223.255.255.255",
            "2001:db8::1",
            "fd00:ec2::123",
            "fe80::1",
            "64:ff9b::192.0.2.1",
            "0:0:0:0:1::",
        ];
        for address in allowed {
            assert_eq!(refusal(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn an_answer_is_sorted_has_each_address_once_and_the_least_ttl() {
        let answer = answer(&[
            record("2001:db8::1", 300),
            record("192.0.2.2", 150),
            record("192.0.2.1", 151),
            record("192.0.2.2", 152),
            record("127.0.0.1", 149),
        ]);
        let expected: Vec<IpAddr> = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
            .map(|text| text.parse().unwrap())
            .into();
        assert_eq!(answer.addresses, expected);
        assert_eq!(answer.ttl, 149);
        assert_eq!(answer.refused, [("127.0.0.1".parse().unwrap(), "loopback")]);
        assert_eq!(answer.over_cap, 0);
    }

    #[test]
    fn a_ttl_with_its_highest_bit_set_is_zero() {
        assert_eq!(answer(&[record("192.0.2.1", 0x8000_0000)]).ttl, 0);
        assert_eq!(answer(&[record("192.0.2.1", 0x7fff_ffff)]).ttl, 0x7fff_ffff);
    }

    #[test]
    fn nothing_but_refused_addresses_is_a_failure() {
        let failure = Answer::new([record("::1", 60)], None).unwrap_err();
        assert_eq!(
            failure,
            Failure::OnlyRefused {
                refused: vec![("::1".parse().unwrap(), "loopback")]
            }
        );
        assert_eq!(Answer::new([], None), Err(Failure::NoAddresses));
    }

    #[test]
    fn too_many_addresses_are_cut_and_counted_and_leave_room_for_the_other_family() {
        let flood = (0..3000u32).map(|n| Record {
            address: Ipv4Addr::from(0x0a00_0000 + n).into(),
            ttl: 60,
        });
        let few = (0..4u16).map(|n| Record {
            address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).into(),
            ttl: 60,
        });
        let answer = Answer::new(flood.chain(few), None).unwrap();
        assert_eq!(answer.addresses.len(), MAX_ADDRESSES_PER_ANSWER);
        assert_eq!(answer.over_cap, 3004 - MAX_ADDRESSES_PER_ANSWER);
        assert_eq!(
            answer
                .addresses
                .iter()
                .filter(|address| address.is_ipv6())
                .count(),
            4
        );
    }

    #[test]
    fn the_room_of_an_answer_is_used_whole() {
        assert_eq!(rooms(3000, 3000), (128, 128));
        assert_eq!(rooms(3000, 0), (256, 0));
        assert_eq!(rooms(0, 3000), (0, 256));
        assert_eq!(rooms(200, 3000), (128, 128));
        assert_eq!(rooms(100, 3000), (100, 156));
        assert_eq!(rooms(3, 2), (3, 2));
    }
}
