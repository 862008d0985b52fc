//! What a word that names a host says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use super::{Family, Host};
use crate::scope::{Scope, Scoped, is_link_local, of_key};

/// Why a word names no time source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum HostError {
    #[error("{0:?} is neither an address nor a host name")]
    Word(String),
    #[error("{0:?} is not an address: an IPv4 address has four numbers, each below 256")]
    Numbers(String),
    #[error("{0} is not the address of a host")]
    Address(IpAddr),
    #[error("{0} is an IPv4 address in IPv6 notation: use {1}")]
    Mapped(Ipv6Addr, Ipv4Addr),
    #[error("{0} is not of the address family that the line specifies")]
    Family(IpAddr),
    #[error("{0:?} is not an address for {2}, which takes no brackets and no port here: use {1}")]
    Brackets(String, IpAddr, &'static str),
    #[error("{0:?} is not an address for {1}, which takes no interface after it")]
    Scope(String, &'static str),
    #[error(
        "{0} is not a link-local address, in which the 32 bits after the first 32 are zero (RFC \
         4291 section 2.5.6)"
    )]
    LinkLocal(IpAddr),
    #[error(
        "{0} is this host itself: its packets cross no interface, so there is nothing to grant"
    )]
    Loopback(IpAddr),
}

impl HostError {
    /// Whether nothing is wrong with the line.
    pub(super) fn is_note(&self) -> bool {
        matches!(self, Self::Loopback(_))
    }
}

/// How a daemon lets IPv6 addresses be spelt, besides plainly. Each was tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spelling {
    daemon: &'static str,
    /// `[2001:db8::1]`, and whatever follows the bracket.
    brackets: bool,
    /// `fe80::1%eth0`.
    scopes: bool,
}

impl Spelling {
    /// Both ntpds.
    pub(super) const NTPD: Self = Self {
        daemon: "ntpd",
        brackets: true,
        scopes: true,
    };
    /// chronyd, which looks the others up as names.
    pub(super) const CHRONYD: Self = Self {
        daemon: "chronyd",
        brackets: false,
        scopes: false,
    };
    /// ntpd-rs, once its brackets are gone with its port.
    pub(super) const NTPD_RS: Self = Self {
        daemon: "ntpd-rs",
        ..Self::CHRONYD
    };
    /// OpenNTPD.
    pub(super) const OPENNTPD: Self = Self {
        daemon: "OpenNTPD",
        brackets: false,
        scopes: true,
    };
    /// systemd-timesyncd, which has getaddrinfo(3) read them.
    pub(super) const TIMESYNCD: Self = Self {
        daemon: "systemd-timesyncd",
        ..Self::OPENNTPD
    };

    fn check(self, text: &str, address: IpAddr) -> Result<(), HostError> {
        if text.starts_with('[') && !self.brackets {
            Err(HostError::Brackets(text.to_owned(), address, self.daemon))
        } else if text.contains('%') && !self.scopes {
            Err(HostError::Scope(text.to_owned(), self.daemon))
        } else {
            Ok(())
        }
    }
}

/// Reads the name or address of a time source, as a daemon of that spelling does.
pub(super) fn source(text: &str, family: Family, spelling: Spelling) -> Result<Host, HostError> {
    if let Some(host) = scoped(text) {
        spelling.check(text, host.address)?;
        unicast(host.address, family)?;
        return Ok(Host::Address(host));
    }
    if is_name(text) {
        Ok(Host::Name(text.to_owned()))
    } else if text.contains(char::is_numeric)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        Err(HostError::Numbers(text.to_owned()))
    } else {
        Err(HostError::Word(text.to_owned()))
    }
}

/// Reads an address: IPv4 with four numbers, or IPv6, in brackets or not, on an interface or not.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    scoped(text).map(|host| host.address)
}

/// The same with the interface, where it counts: that of an address which is the same everywhere is left
/// out.
fn scoped(text: &str) -> Option<Scoped<IpAddr>> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.into());
    }
    let text = match text.strip_prefix('[') {
        // Both ntpds ignore whatever follows the bracket.
        Some(bracketed) => bracketed.split_once(']')?.0,
        None => text,
    };
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (text, None),
    };
    let address = address.parse().ok().map(IpAddr::V6)?;
    let scope = match scope.filter(|_| is_link_local(address)) {
        Some(name) => Some(Scope::new(name)?),
        None => None,
    };
    Some(Scoped { address, scope })
}

/// Makes sure that `address` can be one host's.
pub(super) fn unicast(address: IpAddr, family: Family) -> Result<IpAddr, HostError> {
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        return Err(HostError::Mapped(v6, v4));
    }
    let of_family = match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    if !of_family {
        Err(HostError::Family(address))
    } else if of_key(address).is_some() {
        Err(HostError::LinkLocal(address))
    } else if address.is_loopback() {
        Err(HostError::Loopback(address))
    } else if address.is_unspecified()
        || address.is_multicast()
        || address == IpAddr::V4(Ipv4Addr::BROADCAST)
    {
        Err(HostError::Address(address))
    } else {
        Ok(address)
    }
}

/// Whether `text` can be a name that DNS resolves: labels of letters, digits, `-` and `_`, the
/// last of them no number (RFC 1123 2.1).
pub(super) fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let labels = || name.split('.');
    name.len() <= 253
        && labels().all(is_label)
        && !labels()
            .next_back()
            .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Host, HostError> {
        source(text, Family::Any, Spelling::NTPD)
    }

    #[test]
    fn names_and_addresses_are_told_apart() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4460", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            // What follows the bracket is nothing to ntpd.
            ("[fe80::1]%eth0", "fe80::1"),
            ("[fe80::1%eth0]", "fe80::1%eth0"),
            ("fe80::1%2", "fe80::1%2"),
            ("2001:db8::1%eth0", "2001:db8::1"),
        ] {
            assert_eq!(
                read(text),
                Ok(Host::Address(address.parse().expect("an address"))),
                "{text}"
            );
        }
        for name in [
            "pool",
            "0.pool.ntp.org",
            "ntp.example.",
            "a_b",
            "x-y.1a",
            "3com",
        ] {
            assert_eq!(read(name), Ok(Host::Name(name.to_owned())));
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "a..b",
            "-x",
            "a b",
            "a,b",
            "a/b",
            "=",
            "[",
            "[2001:db8::1",
            "1.2.3%eth0",
            "fe80::1%",
            "fe80::1%a/b",
            &long,
        ] {
            assert!(
                matches!(read(text), Err(HostError::Word(_))),
                "{text}: {:?}",
                read(text)
            );
        }
        for text in ["192.0.2", "192.0.2.256", "192.0.2.1.", "1234"] {
            assert!(
                matches!(read(text), Err(HostError::Numbers(_))),
                "{text}: {:?}",
                read(text)
            );
        }
    }

    #[test]
    fn addresses_that_no_server_has_are_refused() {
        for text in ["0.0.0.0", "::", "224.0.1.1", "ff02::101", "255.255.255.255"] {
            assert!(matches!(read(text), Err(HostError::Address(_))), "{text}");
        }
        assert!(matches!(
            read("::ffff:192.0.2.1"),
            Err(HostError::Mapped(..))
        ));
        for text in ["fe80:0:0:3::1", "fe80:0:1::1%eth0"] {
            assert!(matches!(read(text), Err(HostError::LinkLocal(_))), "{text}");
        }
        assert!(matches!(read("127.0.0.1"), Err(HostError::Loopback(_))));
        assert!(matches!(read("::1"), Err(HostError::Loopback(_))));
        let v6 = source("192.0.2.1", Family::V6, Spelling::NTPD);
        assert!(matches!(v6, Err(HostError::Family(_))));
    }

    #[test]
    fn each_daemon_has_spellings_of_its_own() {
        const ALL: [Spelling; 5] = [
            Spelling::NTPD,
            Spelling::CHRONYD,
            Spelling::NTPD_RS,
            Spelling::OPENNTPD,
            Spelling::TIMESYNCD,
        ];
        let taking = |text: &str| {
            let takes = |spelling: &Spelling| source(text, Family::Any, *spelling).is_ok();
            ALL.iter()
                .filter(|spelling| takes(spelling))
                .map(|spelling| spelling.daemon)
                .collect::<Vec<_>>()
        };
        assert_eq!(taking("2001:db8::1").len(), ALL.len());
        assert_eq!(taking("[2001:db8::1]"), ["ntpd"]);
        assert_eq!(taking("[2001:db8::1]:123"), ["ntpd"]);
        assert_eq!(
            taking("fe80::1%eth0"),
            ["ntpd", "OpenNTPD", "systemd-timesyncd"]
        );
        assert_eq!(taking("[fe80::1%eth0]"), ["ntpd"]);
    }
}
