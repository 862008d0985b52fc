//! The layout of chrony's commands and replies. All numbers are in network byte order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::query::AskError;

/// The protocol's version.
const VERSION: u8 = 6;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
/// Where the data of a request and of a reply begin.
const REQUEST_HEADER: usize = 20;
const REPLY_HEADER: usize = 28;
/// `STT_SUCCESS`
const SUCCESS: u16 = 0;
/// The bytes of an address: its value, its family, and padding.
const ADDRESS: usize = 20;
/// The bytes of a name, which a zero byte ends.
const NAME: usize = 256;
/// The longest reply that is asked for.
pub(in crate::query) const MAX_REPLY: usize = REPLY_HEADER + NAME;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query) enum Request {
    /// `REQ_N_SOURCES`
    Sources,
    /// `REQ_SOURCE_DATA`, of the source with this index.
    Source(u32),
    /// `REQ_NTP_SOURCE_NAME`
    Name(IpAddr),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::query) enum Reply {
    Sources(u32),
    Source(SourceData),
    Name(String),
}

/// What chronyd tells of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::query) struct SourceData {
    /// `None` while its name is not resolved.
    pub(in crate::query) address: Option<IpAddr>,
    pub(in crate::query) mode: Mode,
    pub(in crate::query) selected: bool,
}

/// What a source is to chronyd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query) enum Mode {
    Client,
    Peer,
    ReferenceClock,
}

impl Request {
    /// Command, the reply to it, and the bytes of that reply's data.
    const fn numbers(self) -> (u16, u16, usize) {
        match self {
            Self::Sources => (14, 2, 4),
            Self::Source(_) => (15, 3, 48),
            Self::Name(_) => (65, 19, NAME),
        }
    }

    /// The request's bytes, padded to the length of the reply: chronyd is no amplifier.
    pub(in crate::query) fn encode(self, sequence: u32) -> Vec<u8> {
        let (command, _, reply) = self.numbers();
        let mut bytes = vec![VERSION, REQUEST, 0, 0];
        bytes.extend(command.to_be_bytes());
        bytes.extend(0_u16.to_be_bytes());
        bytes.extend(sequence.to_be_bytes());
        bytes.resize(REQUEST_HEADER, 0);
        match self {
            Self::Sources => {}
            Self::Source(index) => bytes.extend(index.to_be_bytes()),
            Self::Name(address) => bytes.extend(encode_address(address)),
        }
        bytes.resize(bytes.len().max(REPLY_HEADER + reply), 0);
        bytes
    }
}

/// The sequence number of a reply.
pub(in crate::query) fn sequence(reply: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*reply.get(16..)?.first_chunk()?))
}

impl Reply {
    /// Reads the reply to `request`.
    pub(in crate::query) fn decode(bytes: &[u8], request: &Request) -> Result<Self, AskError> {
        let (command, expected, length) = request.numbers();
        let short = || AskError::Nonsense(format!("{} bytes are too short", bytes.len()));
        let header: &[u8; REPLY_HEADER] = bytes.first_chunk().ok_or_else(short)?;
        let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if header[0] != VERSION || header[1] != REPLY || number(4) != command {
            return Err(AskError::Nonsense(format!(
                "version {}, type {}, command {}, where {VERSION}, {REPLY} and {command} are expected",
                header[0],
                header[1],
                number(4)
            )));
        }
        if number(8) != SUCCESS {
            return Err(AskError::Refused(format!("status {}", number(8))));
        }
        if number(6) != expected {
            return Err(AskError::Nonsense(format!(
                "reply {} to command {command}",
                number(6)
            )));
        }
        let data = &bytes[REPLY_HEADER..];
        let data = data.get(..length).ok_or_else(short)?;
        match request {
            Request::Sources => Ok(Self::Sources(u32::from_be_bytes([
                data[0], data[1], data[2], data[3],
            ]))),
            Request::Source(_) => source(data).map(Self::Source),
            Request::Name(_) => Ok(Self::Name(name(data))),
        }
    }
}

/// Address, poll, stratum, state, mode, flags, reachability, and measurements.
fn source(data: &[u8]) -> Result<SourceData, AskError> {
    let number = |at: usize| u16::from_be_bytes([data[at], data[at + 1]]);
    let mode = match number(ADDRESS + 6) {
        0 => Mode::Client,
        1 => Mode::Peer,
        2 => Mode::ReferenceClock,
        other => return Err(AskError::Nonsense(format!("a source of mode {other}"))),
    };
    Ok(SourceData {
        address: decode_address(&data[..ADDRESS]),
        mode,
        selected: number(ADDRESS + 4) == 0,
    })
}

fn name(data: &[u8]) -> String {
    let bytes = data.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn encode_address(address: IpAddr) -> [u8; ADDRESS] {
    let mut bytes = [0; ADDRESS];
    match address {
        IpAddr::V4(address) => {
            bytes[..4].copy_from_slice(&address.octets());
            bytes[17] = 1;
        }
        IpAddr::V6(address) => {
            bytes[..16].copy_from_slice(&address.octets());
            bytes[17] = 2;
        }
    }
    bytes
}

/// An address; `None` for the number that stands for one which is not known yet.
fn decode_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.get(16..18)? {
        [0, 1] => bytes
            .first_chunk::<4>()
            .map(|octets| Ipv4Addr::from(*octets).into()),
        [0, 2] => bytes
            .first_chunk::<16>()
            .map(|octets| Ipv6Addr::from(*octets).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(request: Request, data: &[u8]) -> Vec<u8> {
        let (command, reply, _) = request.numbers();
        let mut bytes = vec![VERSION, REPLY, 0, 0];
        bytes.extend(command.to_be_bytes());
        bytes.extend(reply.to_be_bytes());
        bytes.resize(16, 0);
        bytes.extend(7_u32.to_be_bytes());
        bytes.resize(REPLY_HEADER, 0);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn requests_are_as_long_as_their_replies() {
        let name = Request::Name("2001:db8::1".parse().unwrap());
        for (request, length) in [
            (Request::Sources, 32),
            (Request::Source(3), 76),
            (name, 284),
        ] {
            let bytes = request.encode(0x0102_0304);
            assert_eq!(bytes.len(), length);
            assert_eq!(bytes[8..12], [1, 2, 3, 4]);
        }
        assert_eq!(Request::Source(3).encode(0)[20..24], [0, 0, 0, 3]);
        assert_eq!(name.encode(0)[36..38], [0, 2]);
    }

    #[test]
    fn replies_are_read() {
        let bytes = reply(Request::Sources, &[0, 0, 1, 2]);
        assert_eq!(sequence(&bytes), Some(7));
        assert_eq!(
            Reply::decode(&bytes, &Request::Sources).unwrap(),
            Reply::Sources(258)
        );
        let mut data = encode_address("192.0.2.1".parse().unwrap()).to_vec();
        data.extend([0, 6, 0, 2, 0, 0, 0, 1, 0, 0, 0, 255]);
        data.resize(48, 0);
        let request = Request::Source(0);
        let expected = SourceData {
            address: Some("192.0.2.1".parse().unwrap()),
            mode: Mode::Peer,
            selected: true,
        };
        assert_eq!(
            Reply::decode(&reply(request, &data), &request).unwrap(),
            Reply::Source(expected)
        );
        data[17] = 3;
        let Reply::Source(unresolved) = Reply::decode(&reply(request, &data), &request).unwrap()
        else {
            panic!("not a source");
        };
        assert_eq!(unresolved.address, None);
        let request = Request::Name("192.0.2.1".parse().unwrap());
        let mut data = b"a.example\0rest".to_vec();
        data.resize(NAME, 0);
        assert_eq!(
            Reply::decode(&reply(request, &data), &request).unwrap(),
            Reply::Name("a.example".to_owned())
        );
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let request = Request::Sources;
        let mut refused = reply(request, &[0; 4]);
        refused[9] = 2;
        assert!(matches!(
            Reply::decode(&refused, &request),
            Err(AskError::Refused(_))
        ));
        let good = reply(request, &[0; 4]);
        for (at, value) in [(0, 5), (1, 1), (5, 15), (7, 3)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            let error = Reply::decode(&bytes, &request);
            assert!(matches!(error, Err(AskError::Nonsense(_))), "{at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let name = Request::Name("192.0.2.1".parse().unwrap());
            for request in [Request::Sources, Request::Source(1), name] {
                let _unused = Reply::decode(&bytes, &request);
                let _unused = Reply::decode(&reply(request, &data), &request);
            }
        }
    }
}
