//! The values of options that no other place reads.

use std::net::SocketAddr;

use ipnet::IpNet;
use ntpguard::{
    allowlist::claim::parse_role,
    scope::{ScopeError, Scoped},
};
use ntpguard_common::reason::Reason;

pub(super) fn check_role(word: &str) -> Result<String, String> {
    parse_role(word)
        .map(|_| word.to_owned())
        .map_err(|error| error.to_string())
}

pub(super) fn parse_reason(word: &str) -> Result<Reason, String> {
    let named = |reason: &&Reason| reason.name() == word;
    Reason::ALL.iter().find(named).copied().ok_or_else(|| {
        let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

pub(super) fn parse_prefix(text: &str) -> Result<Scoped<IpNet>, String> {
    let host: Scoped<IpNet> = text.parse().map_err(|error| match error {
        ScopeError::Address => {
            "expected an address such as 192.0.2.1 or a prefix such as 2001:db8::/32".to_owned()
        }
        other => other.to_string(),
    })?;
    let prefix = host.address;
    if prefix.trunc() != prefix {
        return Err(format!(
            "{prefix} has bits set beyond its length; did you mean {} or {}?",
            prefix.trunc(),
            prefix.addr()
        ));
    }
    Ok(host)
}

pub(super) fn parse_ttl(text: &str) -> Result<u32, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match u32::try_from(time.as_secs()) {
        Ok(0) => Err("shorter than a second".to_owned()),
        Ok(seconds) => Ok(seconds),
        Err(_) => Err("longer than 136 years".to_owned()),
    }
}

/// Reads `IP` or `IP:PORT`; the default port is 53.
pub(crate) fn parse_resolver(text: &str) -> Result<SocketAddr, String> {
    const DNS: u16 = 53;
    if let Ok(address) = text.parse() {
        return Ok(SocketAddr::new(address, DNS));
    }
    text.parse()
        .map_err(|_| format!("expected IP, IP:PORT or [IP]:PORT, not {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_prefix_of_one() {
        assert_eq!(
            parse_prefix("192.0.2.1").unwrap(),
            "192.0.2.1/32".parse().unwrap()
        );
        assert_eq!(
            parse_prefix("2001:db8::/32").unwrap(),
            "2001:db8::/32".parse().unwrap()
        );
        assert!(
            parse_prefix("192.0.2.1/24")
                .unwrap_err()
                .contains("192.0.2.0/24")
        );
        assert!(parse_prefix("pool.ntp.org").is_err());
    }

    #[test]
    fn a_reason_is_one_of_those_there_are() {
        assert_eq!(parse_reason("zero-origin"), Ok(Reason::ZeroOrigin));
        assert!(parse_reason("Unlisted").unwrap_err().contains("unlisted"));
    }

    #[test]
    fn lifetimes_are_whole_seconds() {
        assert_eq!(parse_ttl("15min"), Ok(900));
        assert!(
            parse_ttl("10ms").is_err() && parse_ttl("-5s").is_err() && parse_ttl("900y").is_err()
        );
    }

    #[test]
    fn the_default_port_of_a_resolver_is_53() {
        assert_eq!(
            parse_resolver("192.0.2.1").unwrap(),
            "192.0.2.1:53".parse().unwrap()
        );
        assert_eq!(
            parse_resolver("[::1]:5353").unwrap(),
            "[::1]:5353".parse().unwrap()
        );
        assert_eq!(parse_resolver("::1").unwrap(), "[::1]:53".parse().unwrap());
        assert!(parse_resolver("dns.example").is_err());
    }
}
