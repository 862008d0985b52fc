//! `allow` and `deny`: which clients chronyd serves.
//!
//! It serves nobody unless told, so even an `allow` without a subnet is somebody's decision.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ntpguard_common::{maps::tables::Role, wire::ntp};

use super::{
    super::{
        Place, host,
        reading_builder::{Line, ReadingBuilder},
    },
    source,
    words::{Word, Words},
};

/// chronyd's table of clients: the longest prefix decides.
#[derive(Default)]
pub(super) struct Access {
    rules: BTreeMap<IpNet, Rule>,
    /// The port to serve at, if not 123.
    other_port: Option<(u16, Place)>,
}

struct Rule {
    allow: bool,
    place: Place,
}

/// Why a subnet was not understood.
enum SubnetError {
    Name,
    Nothing,
}

impl Access {
    /// Reads the rest of an `allow` or `deny` line: `[all] [SUBNET]`.
    pub(super) fn rule(
        &mut self,
        allow: bool,
        builder: &mut ReadingBuilder<'_>,
        line: &Line,
        words: &mut Words<'_>,
    ) {
        let start = words.column();
        let mut word = words.next();
        // Unlike the keywords, this is not read in capitals.
        let all = word.filter(|word| word.text == "all");
        if all.is_some() {
            word = words.next();
        }
        if let Some(extra) = words.next() {
            builder.error(
                line.at(extra.column),
                "expected one subnet and the end of the line",
            );
            return;
        }
        let column = word.or(all).map_or(start, |word| word.column);
        let place = line.at(column);
        let subnets = match word.map(subnet) {
            None => vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())],
            Some(Ok(subnet)) => vec![subnet],
            Some(Err(SubnetError::Name)) => {
                let message = "ignored: this is a name, and access to this host must not depend \
                               on DNS; use its address";
                builder.note(place, message);
                return;
            }
            Some(Err(SubnetError::Nothing)) => {
                builder.error(
                    place,
                    "expected a subnet, such as 192.0.2.0/24, 192.0.2 or 2001:db8::/32",
                );
                return;
            }
        };
        for subnet in subnets {
            self.set(
                subnet,
                all.is_some(),
                Rule {
                    allow,
                    place: place.clone(),
                },
            );
        }
    }

    /// Reads the rest of a `port` line.
    pub(super) fn port(
        &mut self,
        builder: &mut ReadingBuilder<'_>,
        line: &Line,
        words: &mut Words<'_>,
    ) {
        let place = line.at(words.column());
        if let Some(port) = source::port(builder, line, words) {
            self.other_port = (port != ntp::PORT).then_some((port, place));
        }
    }

    fn set(&mut self, subnet: IpNet, all: bool, rule: Rule) {
        // chronyd's table has a level for each 4 bits, on which a shorter prefix overwrites longer
        // ones that were there before.
        let level = subnet.prefix_len().next_multiple_of(4);
        if all || level != subnet.prefix_len() {
            self.rules
                .retain(|inner, _| !subnet.contains(inner) || !all && inner.prefix_len() > level);
        }
        self.rules.insert(subnet, rule);
    }

    /// Turns the table into wants.
    pub(super) fn grant(&self, builder: &mut ReadingBuilder<'_>) {
        let is_allowed = self.rules.values().any(|rule| rule.allow);
        if let Some((port, place)) = self.other_port.as_ref().filter(|_| is_allowed) {
            let message = match port {
                0 => "port 0 turns serving off, so `allow` grants nothing".to_owned(),
                port => format!(
                    "clients are served on port {port}, and ntpguard guards port {} only, so \
                     `allow` grants nothing",
                    ntp::PORT
                ),
            };
            builder.note(place.clone(), message);
            return;
        }
        let mut wanted: Vec<_> = self
            .rules
            .iter()
            .filter(|(subnet, rule)| rule.allow || self.is_covered(**subnet))
            .collect();
        wanted.sort_by_key(|(_, rule)| &rule.place);
        for (subnet, rule) in wanted {
            let roles: &[Role] = if rule.allow { &[Role::Client] } else { &[] };
            builder.prefix(*subnet, roles, rule.place.clone());
        }
    }

    /// Whether a wider subnet is allowed.
    fn is_covered(&self, subnet: IpNet) -> bool {
        std::iter::successors(subnet.supernet(), IpNet::supernet)
            .any(|wider| self.rules.get(&wider).is_some_and(|rule| rule.allow))
    }
}

/// Reads a subnet: an address, a prefix, or the first one to three numbers of an IPv4 address.
fn subnet(word: Word<'_>) -> Result<IpNet, SubnetError> {
    let (network, length) = match word.text.split_once('/') {
        Some((network, length)) => (
            network,
            Some(length.parse().map_err(|_| SubnetError::Nothing)?),
        ),
        None => (word.text, None),
    };
    let (address, bits) = match network.parse::<IpAddr>() {
        Ok(address) => (address, if address.is_ipv4() { 32 } else { 128 }),
        Err(_) => match shortened(network) {
            Some((address, bits)) => (IpAddr::from(address), bits),
            None if length.is_none() && host::is_name(network) => return Err(SubnetError::Name),
            None => return Err(SubnetError::Nothing),
        },
    };
    IpNet::new(address, length.unwrap_or(bits))
        .map(|subnet| subnet.trunc())
        .map_err(|_| SubnetError::Nothing)
}

/// Reads the first one to three numbers of an IPv4 address, and how many bits they are.
fn shortened(text: &str) -> Option<([u8; 4], u8)> {
    let mut address = [0; 4];
    let mut bits = 0;
    let mut bytes = address.iter_mut().take(3);
    for number in text.split('.') {
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *bytes.next()? = number.parse().ok()?;
        bits += 8;
    }
    Some((address, bits))
}
