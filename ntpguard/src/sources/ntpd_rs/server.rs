//! `[[server]]`: whom ntpd-rs serves.
//!
//! It serves nobody without such a section, so even one that names no clients is deliberate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use ntpguard_common::{maps::tables::Role, wire::ntp};
use toml::{Spanned, de::DeValue};

use super::{super::Place, Reader, str_of};

/// Which clients one section serves: those of `allowed` that are not of `denied`.
struct Section {
    allowed: Vec<(IpNet, Place)>,
    denied: Vec<(IpNet, Place)>,
}

/// Turns the sections into wants: who is served by any of them is a client.
pub(super) fn grant(reader: &mut Reader<'_, '_>, sections: &[&Spanned<DeValue<'_>>]) {
    let sections: Vec<Section> = sections
        .iter()
        .filter_map(|section| read(reader, section))
        .collect();
    for section in &sections {
        for (prefix, place) in &section.allowed {
            // A wider denial goes before a narrower permission.
            if !section.denies(*prefix) {
                reader
                    .builder
                    .prefix(*prefix, &[Role::Client], place.clone());
            }
        }
    }
    for section in &sections {
        for (prefix, place) in &section.denied {
            let allowed = section.allowed.iter();
            let matters = allowed.clone().any(|(wider, _)| wider.contains(prefix));
            // A denial in one section does not bind another that serves the same clients.
            let served = sections.iter().any(|other| other.serves(*prefix));
            if matters && !served {
                reader.builder.prefix(*prefix, &[], place.clone());
            }
        }
    }
}

impl Section {
    fn denies(&self, prefix: IpNet) -> bool {
        self.denied.iter().any(|(wider, _)| wider.contains(&prefix))
    }

    fn serves(&self, prefix: IpNet) -> bool {
        let allows = self
            .allowed
            .iter()
            .any(|(wider, _)| wider.contains(&prefix));
        allows && !self.denies(prefix)
    }
}

fn read(reader: &mut Reader<'_, '_>, section: &Spanned<DeValue<'_>>) -> Option<Section> {
    let listen = reader.text_of(section, "listen")?;
    let place = reader.place(listen.span());
    let Ok(address) = str_of(listen).parse::<SocketAddr>() else {
        reader.broken(
            listen.span(),
            "expected an address and port, such as \"[::]:123\"",
        );
        return None;
    };
    if address.port() != ntp::PORT {
        let message = format!(
            "clients are served on port {}, and ntpguard guards port {} only, so this grants \
             nothing",
            address.port(),
            ntp::PORT
        );
        reader.builder.note(place, message);
        return None;
    }
    let families = families(address.ip());
    let of_families = |(prefix, _): &(IpNet, Place)| {
        families
            .iter()
            .any(|family| family.addr().is_ipv4() == prefix.addr().is_ipv4())
    };
    let named = filter(reader, section, "allowlist");
    let everybody = || {
        families
            .iter()
            .map(|family| (*family, place.clone()))
            .collect()
    };
    let mut allowed: Vec<(IpNet, Place)> = named.unwrap_or_else(everybody);
    allowed.retain(of_families);
    let denied = filter(reader, section, "denylist").unwrap_or_default();
    Some(Section { allowed, denied })
}

/// Whom a socket at `address` can hear, everybody of a family; one at `::` hears IPv4, too.
fn families(address: IpAddr) -> Vec<IpNet> {
    let everybody = |address: IpAddr| IpNet::new(address, 0).ok();
    let v4 = everybody(Ipv4Addr::UNSPECIFIED.into());
    let v6 = everybody(Ipv6Addr::UNSPECIFIED.into());
    let heard = match address {
        address if address.is_loopback() => [None, None],
        IpAddr::V4(_) => [v4, None],
        IpAddr::V6(address) if address.is_unspecified() => [v4, v6],
        IpAddr::V6(_) => [None, v6],
    };
    heard.into_iter().flatten().collect()
}

/// The prefixes of `[server.KEY] filter`; `None` without one.
fn filter(
    reader: &mut Reader<'_, '_>,
    section: &Spanned<DeValue<'_>>,
    key: &str,
) -> Option<Vec<(IpNet, Place)>> {
    let list = section.get_ref().get(key)?;
    let Some(filter) = list
        .get_ref()
        .get("filter")
        .and_then(|filter| filter.get_ref().as_array())
    else {
        reader.broken(
            list.span(),
            &format!("expected a list of prefixes, `filter`, in `{key}`"),
        );
        return Some(Vec::new());
    };
    let mut prefixes = Vec::new();
    for word in filter {
        match word.get_ref().as_str().map(str::parse::<IpNet>) {
            Some(Ok(prefix)) => prefixes.push((prefix.trunc(), reader.place(word.span()))),
            _ => reader.broken(word.span(), "expected a prefix, such as \"192.0.2.0/24\""),
        }
    }
    Some(prefixes)
}
