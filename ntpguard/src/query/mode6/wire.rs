//! The layout of mode 6 messages (RFC 9327 section 2).

use std::collections::BTreeMap;

use crate::query::AskError;

/// The bytes before the data.
const HEADER: usize = 12;
/// The longest message: 468 bytes of data, an authenticator, and some room.
pub(in crate::query) const MAX_MESSAGE: usize = 1024;
/// Version 2 and mode 6: ntpq's, which every ntpd answers.
const VERSION_AND_MODE: u8 = 2 << 3 | 6;
const RESPONSE: u8 = 0x80;
const ERROR: u8 = 0x40;
const MORE: u8 = 0x20;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::query) enum Opcode {
    /// The associations, of association 0.
    ReadStatus = 1,
    /// The variables of an association.
    ReadVariables = 2,
}

/// A response, or a fragment of one.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::query) struct Message<'a> {
    pub(in crate::query) sequence: u16,
    /// The error's number.
    pub(in crate::query) error: Option<u8>,
    /// Whether others follow.
    pub(in crate::query) more: bool,
    /// Where its data belong in the whole answer.
    pub(in crate::query) offset: u16,
    pub(in crate::query) data: &'a [u8],
}

/// Variables by their names.
pub(in crate::query) type Variables = BTreeMap<String, String>;

/// The bytes of a request without data.
pub(in crate::query) fn request(opcode: Opcode, sequence: u16, association: u16) -> [u8; HEADER] {
    let [s0, s1] = sequence.to_be_bytes();
    let [a0, a1] = association.to_be_bytes();
    [
        VERSION_AND_MODE,
        opcode as u8,
        s0,
        s1,
        0,
        0,
        a0,
        a1,
        0,
        0,
        0,
        0,
    ]
}

impl<'a> Message<'a> {
    /// Reads a response.
    pub(in crate::query) fn decode(bytes: &'a [u8]) -> Result<Self, AskError> {
        let nonsense = |what: &str| AskError::Nonsense(what.to_owned());
        let header: &[u8; HEADER] = bytes
            .first_chunk()
            .ok_or_else(|| nonsense("too short for a control message"))?;
        if header[0] & 7 != 6 || header[1] & RESPONSE == 0 {
            return Err(nonsense("no response of mode 6"));
        }
        let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let count = usize::from(number(10));
        let data = bytes
            .get(HEADER..HEADER + count)
            .ok_or_else(|| nonsense("less data than its length says"))?;
        Ok(Self {
            sequence: number(2),
            error: (header[1] & ERROR != 0).then_some(header[4]),
            more: header[1] & MORE != 0,
            offset: number(8),
            data,
        })
    }
}

/// The associations of a list, each with its status word.
pub(in crate::query) fn associations(data: &[u8]) -> Result<Vec<(u16, u16)>, AskError> {
    let (pairs, rest) = data.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(AskError::Nonsense("half an association".to_owned()));
    }
    let number = |a, b| u16::from_be_bytes([a, b]);
    Ok(pairs
        .iter()
        .map(|[a, b, c, d]| (number(*a, *b), number(*c, *d)))
        .collect())
}

/// Reads `name=value, name="value", …`; what is none is left out.
pub(in crate::query) fn variables(data: &[u8]) -> Variables {
    let text = String::from_utf8_lossy(data);
    let mut found = Variables::new();
    let mut rest = &*text;
    while !rest.is_empty() {
        let end = end_of_variable(rest);
        let (variable, after) = rest.split_at(end);
        if let Some((name, value)) = variable.split_once('=') {
            found.insert(
                name.trim().to_owned(),
                value.trim().trim_matches('"').to_owned(),
            );
        }
        rest = after.get(1..).unwrap_or_default();
    }
    found
}

/// Where the next comma is that stands in no quotes.
fn end_of_variable(text: &str) -> usize {
    let mut quoted = false;
    text.find(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_a_header() {
        assert_eq!(
            request(Opcode::ReadVariables, 0x0102, 0x0304),
            [0x16, 2, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0]
        );
    }

    #[test]
    fn responses_are_read() {
        let bytes = [0x16, 0xa1, 0, 7, 0, 0, 0, 0, 1, 0, 0, 4, 1, 2, 3, 4, 9, 9];
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(
            message,
            Message {
                sequence: 7,
                error: None,
                more: true,
                offset: 256,
                data: &[1, 2, 3, 4]
            }
        );
        assert_eq!(associations(message.data).unwrap(), [(0x0102, 0x0304)]);
        let error = [0x16, 0xc2, 0, 7, 4, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Message::decode(&error).unwrap().error, Some(4));
        for bad in [
            &bytes[..11],
            &bytes[..14],
            &request(Opcode::ReadStatus, 0, 0)[..],
        ] {
            assert!(Message::decode(bad).is_err(), "{bad:?}");
        }
        assert!(associations(&[1, 2, 3]).is_err());
    }

    #[test]
    fn variables_may_be_quoted_and_hold_commas() {
        let read = variables(b"srcadr=192.0.2.1, srchost=\"a, b\",\r\n hmode=3, odd, x=\"");
        let expected = [
            ("hmode", "3"),
            ("srcadr", "192.0.2.1"),
            ("srchost", "a, b"),
            ("x", ""),
        ];
        let read: Vec<_> = read
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(read, expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _unused = Message::decode(&bytes);
            let _unused = associations(&bytes);
            let _unused = variables(&bytes);
        }
    }
}
