//! Keys of link-local addresses that are granted something on one interface alone.
//!
//! `fe80::1` is another host on each link. What is granted to it on one link stands in `ALLOW_V6` under
//! the address with the index of the interface in its bytes 4 to 7, in network order: on the interface of
//! index 3 `fe80::1` is `fe80:0:0:3::1`. These bytes are zero in the address of any host (RFC 4291 section
//! 2.5.6), so such a key is no address, and the packet that claims to come from it finds no grant. KAME's
//! stack has scopes in its addresses likewise.

/// Whether an address is a link-local unicast one, `fe80::/10`.
#[inline(always)]
pub const fn is_link_local(address: [u8; 16]) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

/// The index of the interface in the key of a link-local address; 0 in an address.
#[inline(always)]
pub const fn interface(key: [u8; 16]) -> u32 {
    u32::from_be_bytes([key[4], key[5], key[6], key[7]])
}

/// The key of a link-local address on the interface of this index; with 0 the address itself.
#[inline(always)]
pub const fn on(mut address: [u8; 16], interface: u32) -> [u8; 16] {
    [address[4], address[5], address[6], address[7]] = interface.to_be_bytes();
    address
}

/// The address of a key. Any other address is its own.
#[inline(always)]
pub const fn address(key: [u8; 16]) -> [u8; 16] {
    if is_link_local(key) { on(key, 0) } else { key }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;

    use super::*;

    fn octets(text: &str) -> [u8; 16] {
        text.parse::<Ipv6Addr>().unwrap().octets()
    }

    #[test]
    fn a_key_has_an_address_and_an_interface() {
        for (key, plain, index) in [
            ("fe80::1", "fe80::1", 0),
            ("fe80::3:0:0:0:1", "fe80::1", 3),
            ("febf::ffff:ffff:1:2:3:4", "febf::1:2:3:4", u32::MAX),
        ] {
            assert!(is_link_local(octets(key)), "{key}");
            assert_eq!(address(octets(key)), octets(plain), "{key}");
            assert_eq!(interface(octets(key)), index, "{key}");
            assert_eq!(on(octets(plain), index), octets(key), "{key}");
        }
        for other in ["fec0::3:0:0:0:1", "2001:db8:1:2::1", "ff02::3:0:0:0:1"] {
            assert!(!is_link_local(octets(other)), "{other}");
            assert_eq!(address(octets(other)), octets(other), "{other}");
        }
    }
}
