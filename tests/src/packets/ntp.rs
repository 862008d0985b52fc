//! NTP messages of every mode.

/// An NTP header of modes 0 to 5 (RFC 5905 section 7.3), with what follows it.
///
/// Timestamps are whole NTP timestamps: seconds since 1900 in the upper 32 bits.
#[derive(Clone, Debug)]
pub struct Message {
    /// 0 no warning, 3 not synchronised.
    pub leap: u8,
    /// The version, 0 to 7.
    pub version: u8,
    /// The mode, 0 to 7.
    pub mode: u8,
    /// 1 primary, 2 to 15 secondary, 0 in a kiss of death.
    pub stratum: u8,
    /// The reference identifier, or the kiss code.
    pub reference_id: [u8; 4],
    /// The origin timestamp.
    pub origin: u64,
    /// The receive timestamp.
    pub receive: u64,
    /// The transmit timestamp.
    pub transmit: u64,
    /// Extension fields and MAC, as they are.
    pub rest: Vec<u8>,
}

impl Message {
    /// A message of any version and mode, with timestamps that differ and are not zero.
    pub fn new(version: u8, mode: u8) -> Self {
        Self {
            leap: 0,
            version,
            mode,
            stratum: 2,
            reference_id: [192, 0, 2, 1],
            origin: 0xeeae_5526_0000_0001,
            receive: 0xeeae_5526_0000_0002,
            transmit: 0xeeae_5526_0000_0003,
            rest: Vec::new(),
        }
    }

    /// A client's request (mode 3) with this transmit timestamp.
    pub fn request(transmit: u64) -> Self {
        let asked = Self {
            leap: 3,
            stratum: 0,
            reference_id: [0; 4],
            ..Self::new(4, 3)
        };
        Self {
            origin: 0,
            receive: 0,
            transmit,
            ..asked
        }
    }

    /// A server's reply (mode 4) to this request.
    pub fn reply_to(request: &Self) -> Self {
        Self {
            origin: request.transmit,
            ..Self::new(request.version, 4)
        }
    }

    /// The bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let first = self.leap << 6 | (self.version & 7) << 3 | self.mode & 7;
        // Poll every 64 s, precision of a microsecond.
        let mut bytes = vec![first, self.stratum, 6, 0xec];
        // Root delay and root dispersion.
        bytes.extend([0; 8]);
        bytes.extend(self.reference_id);
        let reference = self.receive & !0xffff_ffff;
        for timestamp in [reference, self.origin, self.receive, self.transmit] {
            bytes.extend(timestamp.to_be_bytes());
        }
        bytes.extend(&self.rest);
        bytes
    }
}

/// A control message (mode 6) that reads the system's variables (RFC 9327 section 2).
pub fn control_request() -> Vec<u8> {
    // Leap 0, version 4, mode 6; opcode 2; sequence 1; no status, association, offset, data.
    vec![0x26, 0x02, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// The response to [`control_request`], with `data`.
pub fn control_response(data: &[u8]) -> Vec<u8> {
    let [high, low] = (data.len() as u16).to_be_bytes();
    let mut bytes = vec![0x26, 0x82, 0, 1, 0, 0, 0, 0, 0, 0, high, low];
    bytes.extend(data);
    bytes
}

/// A private message (mode 7) that asks for the list of clients: monlist.
pub fn monlist_request() -> Vec<u8> {
    // Version 2, mode 7; sequence 0; implementation 3 (XNTPD); request 42 (MON_GETLIST_1).
    let mut bytes = vec![0x17, 0, 3, 42];
    bytes.resize(48, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use ntpguard_common::wire::ntp::{FirstByte, HEADER_LEN, Mode};

    use super::*;

    #[test]
    fn a_reply_carries_the_requests_transmit_as_its_origin() {
        let request = Message::request(0x0102_0304_0506_0708);
        assert_eq!(request.to_vec()[40..], [1, 2, 3, 4, 5, 6, 7, 8]);
        let reply = Message::reply_to(&request).to_vec();
        assert_eq!(reply[24..32], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(reply.len(), HEADER_LEN);
    }

    #[test]
    fn first_bytes_are_what_the_guard_reads() {
        for (bytes, version, mode) in [
            (Message::request(1).to_vec(), 4, Mode::Client),
            (Message::new(3, 5).to_vec(), 3, Mode::Broadcast),
            (control_request(), 4, Mode::Control),
            (control_response(b"leap=0"), 4, Mode::Control),
            (monlist_request(), 2, Mode::Private),
        ] {
            let first = FirstByte(bytes[0]);
            assert_eq!((first.version(), first.mode()), (version, mode));
        }
    }
}
