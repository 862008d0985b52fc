//! Messages on the socket between the guard and a reader: a length of four bytes, least significant
//! first, and then that many bytes of postcard.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// The largest message of the guard's, in bytes: a file of a mebibyte, of which each byte may have become
/// U+FFFD.
pub(super) const FROM_GUARD: usize = 4 << 20;

/// The largest message of a reader's, in bytes: an answer with tens of thousands of servers.
pub(super) const FROM_READER: usize = 2 << 20;

/// A message that did not get through.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    /// The socket.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is longer than any.
    #[error("a message of {0} bytes")]
    TooLong(usize),
    /// It is none.
    #[error("no message: {0}")]
    Malformed(#[from] postcard::Error),
}

/// Writes a message of at most `limit` bytes.
pub(super) fn write<T: Serialize>(
    stream: &mut impl Write,
    message: &T,
    limit: usize,
) -> Result<(), FrameError> {
    Ok(stream.write_all(&encode(message, limit)?)?)
}

/// The bytes of a message, its length first.
pub(super) fn encode<T: Serialize>(message: &T, limit: usize) -> Result<Vec<u8>, FrameError> {
    let mut bytes = postcard::to_extend(message, vec![0; 4])?;
    let length = bytes.len() - 4;
    if length > limit {
        return Err(FrameError::TooLong(length));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(bytes)
}

/// Reads a message of at most `limit` bytes. It takes no more memory than has arrived.
pub(super) fn read<T: DeserializeOwned>(
    stream: &mut impl Read,
    limit: usize,
) -> Result<T, FrameError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = length_of(length, limit)?;
    let mut bytes = Vec::new();
    let read = stream.take(length as u64).read_to_end(&mut bytes)?;
    if read < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    decode(&bytes)
}

/// The length that a message announces.
pub(super) fn length_of(bytes: [u8; 4], limit: usize) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(bytes) as usize;
    if length > limit {
        return Err(FrameError::TooLong(length));
    }
    Ok(length)
}

/// The message that these bytes are, all of them.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let (message, rest) = postcard::take_from_bytes(bytes)?;
    if !rest.is_empty() {
        return Err(FrameError::TooLong(bytes.len()));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn through(bytes: &[u8]) -> Result<Vec<String>, FrameError> {
        read(&mut &*bytes, 64)
    }

    #[test]
    fn what_is_written_is_read() {
        let said = vec!["a".to_owned(), String::new()];
        let mut bytes = Vec::new();
        write(&mut bytes, &said, 64).unwrap();
        assert_eq!(through(&bytes).unwrap(), said);
        for cut in 0..bytes.len() {
            assert!(through(&bytes[..cut]).is_err(), "{cut} bytes");
        }
    }

    #[test]
    fn what_is_too_long_is_neither_written_nor_read() {
        let long = vec!["x".repeat(64)];
        assert!(matches!(encode(&long, 64), Err(FrameError::TooLong(66))));
        let bytes = encode(&long, 100).unwrap();
        assert!(matches!(through(&bytes), Err(FrameError::TooLong(66))));
        assert!(matches!(through(&[0xff; 4]), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn bytes_behind_a_message_make_it_none() {
        let mut bytes = encode(&Vec::<String>::new(), 64).unwrap();
        bytes.push(0);
        bytes[0] += 1;
        assert!(matches!(through(&bytes), Err(FrameError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_a_message_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            drop(through(&bytes));
            let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
            framed.extend(&bytes);
            drop(read::<Vec<(u8, String, Option<Vec<u64>>)>>(&mut &*framed, 80));
        }
    }
}
