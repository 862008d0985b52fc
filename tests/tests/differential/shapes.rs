//! Random packets, each from a source of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use ntpguard_common::{maps::tables::Role, wire::ntp};
use ntpguard_tests::lab::Lab;

mod datagram;
mod ipv4;
mod ipv6;
mod link;

/// A port that is not NTP's.
pub(super) const OTHER_PORT: u16 = 40_123;

/// Sources that are granted the same.
pub(super) struct Group {
    /// One of each family.
    pub(super) prefixes: [&'static str; 2],
    pub(super) roles: &'static [Role],
}

pub(super) const GROUPS: [Group; 4] = [
    Group {
        prefixes: ["11.0.0.0/10", "2001:db8:a::/48"],
        roles: &[Role::Client],
    },
    Group {
        prefixes: ["11.64.0.0/10", "2001:db8:b::/48"],
        roles: &[Role::Server],
    },
    Group {
        prefixes: ["11.128.0.0/10", "2001:db8:c::/48"],
        roles: &[Role::Client, Role::Control],
    },
    Group {
        prefixes: ["11.192.0.0/10", "2001:db8:d::/48"],
        roles: &[],
    },
];

/// A packet, or the fragments of one.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) frames: Vec<Vec<u8>>,
    /// No other shape comes from here.
    pub(super) from: IpAddr,
    /// What is special about it.
    pub(super) what: String,
}

/// All the shapes that a seed makes.
pub(super) struct Shapes<'a> {
    lab: &'a Lab,
    random: Rng,
    number: u32,
}

impl<'a> Shapes<'a> {
    pub(super) fn new(lab: &'a Lab, seed: u64) -> Self {
        Self {
            lab,
            random: Rng::with_seed(seed),
            number: 0,
        }
    }
}

impl Iterator for Shapes<'_> {
    type Item = Shape;

    fn next(&mut self) -> Option<Shape> {
        self.number += 1;
        let mut maker = Maker {
            lab: self.lab,
            random: &mut self.random,
            number: self.number,
            what: Vec::new(),
        };
        let (from, packets) = if maker.random.bool() {
            maker.ipv4()
        } else {
            maker.ipv6()
        };
        let frames = packets.iter().map(|packet| maker.link(packet)).collect();
        Some(Shape {
            frames,
            from,
            what: maker.what.join(", "),
        })
    }
}

/// Makes one shape.
struct Maker<'a> {
    lab: &'a Lab,
    random: &'a mut Rng,
    number: u32,
    what: Vec<String>,
}

impl Maker<'_> {
    /// Whether something rare is the case, once in `times`; says so if it is.
    fn rarely(&mut self, times: u32, what: &str) -> bool {
        let is_so = self.random.u32(..times) == 0;
        if is_so {
            self.what.push(what.to_owned());
        }
        is_so
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.random.u8(..)).collect()
    }

    /// One of these.
    fn one<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.random.usize(..choices.len())]
    }

    /// The source of this shape, of one group or another.
    fn source_v4(&mut self) -> Ipv4Addr {
        let group = self.random.u32(..4);
        Ipv4Addr::from_bits(11 << 24 | group << 22 | self.number)
    }

    fn source_v6(&mut self) -> Ipv6Addr {
        let group = self.random.u16(..4);
        let [high, low] = [(self.number >> 16) as u16, self.number as u16];
        Ipv6Addr::new(0x2001, 0xdb8, 0xa + group, 0, 0, 0, high, low)
    }

    /// The ports, most of them with 123 at one end.
    fn ports(&mut self) -> (u16, u16) {
        self.one(&[
            (OTHER_PORT, ntp::PORT),
            (OTHER_PORT, ntp::PORT),
            (ntp::PORT, ntp::PORT),
            (ntp::PORT, OTHER_PORT),
        ])
    }
}
