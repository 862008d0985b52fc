//! Addresses with the interface that they are meant on: `fe80::1%eth0`.
//!
//! A link-local address is another host on each link, so what is written after the `%` is a part of it
//! (RFC 4007 section 11). Other addresses are the same everywhere.

mod interfaces;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use ntpguard_common::wire::link_local;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

pub use self::interfaces::Interfaces;

/// The longest name of an interface, in bytes: an alternative one (`ALTIFNAMSIZ`).
const LONGEST_NAME: usize = 127;

/// An interface as it is named after an address: by its name or, as getaddrinfo(3) takes it too, by its
/// index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

impl Scope {
    /// The interface of this name; `None` if none can have it, or if it could do harm on a terminal.
    pub fn new(name: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"%/:".contains(&byte);
        let is_name = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_plain);
        is_name.then(|| Self(name.to_owned()))
    }

    /// The name, or the index in decimal digits.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The interface of this index, by its number.
    pub fn of_index(index: u32) -> Self {
        Self(index.to_string())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    fn try_from(name: String) -> Result<Self, ScopeError> {
        Self::new(&name).ok_or(ScopeError::Name(name))
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0
    }
}

/// A text that is no address, or none on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScopeError {
    /// No address at all.
    #[error("expected an address such as 192.0.2.1 or fe80::1%eth0")]
    Address,
    /// Something after the `%` that no interface is called.
    #[error("{0:?} is not an interface name")]
    Name(String),
    /// An address that is the same everywhere.
    #[error(
        "{0} is the same host on every interface: only link-local addresses (fe80::/10) take one"
    )]
    Global(IpAddr),
    /// A network.
    #[error("only single addresses can have an interface, and {0} is a network")]
    Network(IpNet),
}

/// An address or prefix and, if it is meant on one interface alone, which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scoped<T> {
    /// The address or prefix.
    pub address: T,
    /// The interface; none but that of a link-local address counts.
    pub scope: Option<Scope>,
}

impl<T> From<T> for Scoped<T> {
    fn from(address: T) -> Self {
        Self {
            address,
            scope: None,
        }
    }
}

impl From<IpAddr> for Scoped<IpNet> {
    fn from(address: IpAddr) -> Self {
        IpNet::from(address).into()
    }
}

impl From<Scoped<IpAddr>> for Scoped<IpNet> {
    fn from(host: Scoped<IpAddr>) -> Self {
        Self {
            address: host.address.into(),
            scope: host.scope,
        }
    }
}

impl fmt::Display for Scoped<IpAddr> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Some(scope) => write!(f, "{}%{scope}", self.address),
            None => self.address.fmt(f),
        }
    }
}

/// As RFC 4007 section 11.7 has it.
impl fmt::Display for Scoped<IpNet> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.address.prefix_len();
        match &self.scope {
            Some(scope) => write!(f, "{}%{scope}/{length}", self.address.addr()),
            None => self.address.fmt(f),
        }
    }
}

impl FromStr for Scoped<IpAddr> {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let parse = |text: &str| text.parse().map_err(|_| ScopeError::Address);
        let Some((address, scope)) = text.split_once('%') else {
            return parse(text).map(Self::from);
        };
        let address: IpAddr = parse(address)?;
        if !is_link_local(address) {
            return Err(ScopeError::Global(address));
        }
        let scope = Scope::new(scope).ok_or_else(|| ScopeError::Name(scope.to_owned()))?;
        Ok(Self {
            address,
            scope: Some(scope),
        })
    }
}

/// An address alone is a prefix of one.
impl FromStr for Scoped<IpNet> {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let Some((host, length)) = text.split_once('/') else {
            return text.parse::<Scoped<IpAddr>>().map(Self::from);
        };
        let host: Scoped<IpAddr> = host.parse()?;
        let prefix: IpNet = format!("{}/{length}", host.address)
            .parse()
            .map_err(|_| ScopeError::Address)?;
        if host.scope.is_some() && prefix.prefix_len() != prefix.max_prefix_len() {
            return Err(ScopeError::Network(prefix));
        }
        Ok(Self {
            address: prefix,
            scope: host.scope,
        })
    }
}

impl<T> Serialize for Scoped<T>
where
    Self: fmt::Display,
{
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de, T> Deserialize<'de> for Scoped<T>
where
    Self: FromStr<Err: fmt::Display>,
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Whether an address is another host on each link.
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if link_local::is_link_local(address.octets()))
}

/// The key of a link-local address in the kernel's tables, for the interface of this index.
pub fn key(address: Ipv6Addr, index: u32) -> Ipv6Addr {
    link_local::on(address.octets(), index).into()
}

/// The address and the index of the interface that a key is made of; `None` for a plain address.
pub fn of_key(key: IpAddr) -> Option<(Ipv6Addr, u32)> {
    let IpAddr::V6(key) = key else {
        return None;
    };
    let octets = key.octets();
    let index = link_local::interface(octets);
    let is_key = link_local::is_link_local(octets) && index != 0;
    is_key.then(|| (link_local::address(octets).into(), index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in ["192.0.2.1", "2001:db8::1", "fe80::1", "fe80::1%eth0.5"] {
            let host: Scoped<IpAddr> = text.parse().unwrap();
            assert_eq!(host.to_string(), text);
            let json = serde_json::to_string(&host).unwrap();
            assert_eq!(serde_json::from_str::<Scoped<IpAddr>>(&json).unwrap(), host);
        }
        for (text, shown) in [
            ("192.0.2.1", "192.0.2.1/32"),
            ("fe80::/10", "fe80::/10"),
            ("fe80::1", "fe80::1/128"),
            ("fe80::1%eth0", "fe80::1%eth0/128"),
            ("fe80::1%7/128", "fe80::1%7/128"),
        ] {
            let prefix: Scoped<IpNet> = text.parse().unwrap();
            assert_eq!(prefix.to_string(), shown);
            assert_eq!(shown.parse(), Ok(prefix));
        }
    }

    #[test]
    fn only_a_single_link_local_address_takes_an_interface_that_there_can_be() {
        let read = |text: &str| text.parse::<Scoped<IpNet>>().unwrap_err();
        assert!(matches!(read("2001:db8::1%eth0"), ScopeError::Global(_)));
        assert!(matches!(read("fe80::%eth0/64"), ScopeError::Network(_)));
        let long = format!("fe80::1%{}", "x".repeat(128));
        for name in [
            "fe80::1%",
            "fe80::1%a b",
            "fe80::1%\x1b",
            "fe80::1%a%b",
            &long,
        ] {
            assert!(matches!(read(name), ScopeError::Name(_)), "{name:?}");
        }
        for text in ["", "%eth0", "192.0.2.1/33", "a.example"] {
            assert_eq!(read(text), ScopeError::Address, "{text:?}");
        }
    }

    #[test]
    fn a_key_is_taken_apart_and_an_address_is_none() {
        let address: Ipv6Addr = "fe80::1".parse().unwrap();
        assert_eq!(of_key(key(address, 7).into()), Some((address, 7)));
        for plain in ["fe80::1", "2001:db8:0:7::1", "192.0.2.1"] {
            assert_eq!(of_key(plain.parse().unwrap()), None);
        }
    }
}
