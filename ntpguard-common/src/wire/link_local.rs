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
    set_interface(&mut address, interface);
    address
}

/// Puts the index of an interface into an address.
#[inline(always)]
pub const fn set_interface(address: &mut [u8; 16], interface: u32) {
    [address[4], address[5], address[6], address[7]] = interface.to_be_bytes();
}

/// The address of a key. Any other address is its own.
#[inline(always)]
pub const fn address(key: [u8; 16]) -> [u8; 16] {
    if is_link_local(key) { on(key, 0) } else { key }
}

/// What may be granted on one interface alone.
pub trait Key {
    /// The part of it that is an address; zeros where that is none of IPv6's.
    fn address(&self) -> [u8; 16];

    /// Puts the index of an interface into it.
    fn set_interface(&mut self, interface: u32);
}

/// Looks for what is granted: by the key on the interface that the frame is on, which has all that is
/// granted on every interface too, and else without one.
///
/// The key is changed in its place: a copy would be one more on a stack that has no room for it.
#[inline(always)]
pub fn look_up<K: Key, G>(mut key: K, interface: u32, look: impl Fn(&K) -> Option<G>) -> Option<G> {
    let address = key.address();
    if is_link_local(address) {
        // It claims to be a key.
        if self::interface(address) != 0 {
            return None;
        }
        key.set_interface(interface);
        let here = look(&key);
        if here.is_some() {
            return here;
        }
        key.set_interface(0);
    }
    look(&key)
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
