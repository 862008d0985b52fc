//! The NTP header, as far as the judge reads it (RFC 5905 section 7.3).

/// The port of NTP servers, and of the classic daemons' clients.
pub const PORT: u16 = 123;

/// Bytes in an NTP header: the shortest packet of modes 0 to 5.
pub const HEADER_LEN: usize = 48;

/// Bytes in a control message's header, the shortest one (RFC 9327 section 2).
pub const CONTROL_HEADER_LEN: usize = 12;

/// Offset of the stratum; 0 makes a reply a kiss of death (RFC 5905 section 7.4).
pub const STRATUM: usize = 1;

/// Offset of the reference identifier, a kiss of death's code.
pub const REFERENCE_ID: usize = 12;

/// Offset of the origin timestamp: in a reply the transmit timestamp of its request, in NTPv5 the
/// client cookie, in requests and replies alike.
pub const ORIGIN: usize = 24;

/// Offset of the receive timestamp.
pub const RECEIVE: usize = 32;

/// Offset of the transmit timestamp.
pub const TRANSMIT: usize = 40;

/// The longest packet that a client and a server exchange: NTS keeps to it (RFC 8915 section 5.7).
pub const LONGEST: u16 = 1280;

/// A timestamp as a packet carries it, or another eight bytes in its place: network order.
pub type Timestamp = [u8; 8];

/// The timestamp that says nothing.
pub const NO_TIMESTAMP: Timestamp = [0; 8];

/// The IPv4 group of NTP broadcasts (RFC 5905 section 7.2).
pub const GROUP_V4: [u8; 4] = [224, 0, 1, 1];

/// The limited broadcast address (RFC 919 section 7).
pub const LIMITED_BROADCAST_V4: [u8; 4] = [255, 255, 255, 255];

/// The association mode: the low three bits of the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 5905 section 7.3")]
pub enum Mode {
    Reserved,
    SymmetricActive,
    SymmetricPassive,
    Client,
    Server,
    Broadcast,
    Control,
    Private,
}

/// The first byte: leap indicator, version, mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstByte(pub u8);

impl FirstByte {
    /// The leap indicator, 0 to 3.
    #[inline(always)]
    pub const fn leap(self) -> u8 {
        self.0 >> 6
    }

    /// The version number, 0 to 7.
    #[inline(always)]
    pub const fn version(self) -> u8 {
        self.0 >> 3 & 0x7
    }

    /// The mode.
    #[inline(always)]
    pub const fn mode(self) -> Mode {
        match self.0 & 0x7 {
            0 => Mode::Reserved,
            1 => Mode::SymmetricActive,
            2 => Mode::SymmetricPassive,
            3 => Mode::Client,
            4 => Mode::Server,
            5 => Mode::Broadcast,
            6 => Mode::Control,
            _ => Mode::Private,
        }
    }
}

/// Whether a control message's second byte says that it is a response (RFC 9327 section 2).
#[inline(always)]
pub const fn is_response(second_byte: u8) -> bool {
    second_byte & 0x80 != 0
}

/// Whether `address` is `ff0X::101`, the NTP group in any scope (RFC 5905 section 7.2).
#[inline(always)]
pub const fn is_group_v6(address: [u8; 16]) -> bool {
    u128::from_be_bytes(address) & !(0x000f << 112) == 0xff00 << 112 | 0x101
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_byte_is_leap_version_mode() {
        let first = FirstByte(0b11_100_011);
        assert_eq!((first.version(), first.mode()), (4, Mode::Client));
        assert_eq!(FirstByte(0b00_001_111).mode(), Mode::Private);
    }

    #[test]
    fn the_group_is_known_in_every_scope() {
        for scope in 0..16 {
            let mut group = [0; 16];
            (group[0], group[1], group[14], group[15]) = (0xff, scope, 1, 1);
            assert!(is_group_v6(group));
            group[13] = 1;
            assert!(!is_group_v6(group));
        }
        assert!(!is_group_v6([0; 16]));
    }
}
