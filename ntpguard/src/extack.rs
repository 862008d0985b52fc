//! The kernel's own words for an error, which rtnetlink has beside the number (`NLMSGERR_ATTR_MSG`).

use rtnetlink::packet_core::ErrorMessage;

/// What stands before the attributes: the header of the message that is answered.
const HEADER: usize = 16;

/// The attribute that has the words, with the bits that are no part of its number.
const MESSAGE: u16 = 1;

const FLAGS: u16 = 0xc000;

/// Each attribute begins at a multiple of this.
const ALIGNMENT: usize = 4;

/// The words beside an error.
pub(crate) fn words(error: &ErrorMessage) -> Option<String> {
    let mut rest = error.header.get(HEADER..)?;
    while let [low, high, kind_low, kind_high, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let kind = u16::from_ne_bytes([kind_low, kind_high]) & !FLAGS;
        let value = rest.get(ALIGNMENT..length)?;
        if kind == MESSAGE {
            let text = String::from_utf8_lossy(value);
            let text = text.trim_end_matches('\0').trim();
            return (!text.is_empty()).then(|| text.to_owned());
        }
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..)?;
    }
    None
}

/// An error of rtnetlink for people, with the kernel's words.
pub(crate) fn text(error: &rtnetlink::Error) -> String {
    let rtnetlink::Error::NetlinkError(message) = error else {
        return error.to_string();
    };
    let number = message.to_io();
    match words(message) {
        Some(words) => format!("{words} ({number})"),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(attributes: &[u8]) -> ErrorMessage {
        let mut message = ErrorMessage::default();
        message.header = [&[0; HEADER], attributes].concat();
        message
    }

    #[test]
    fn the_words_are_found_among_other_attributes() {
        let mut attributes = vec![8, 0, 2, 0, 1, 2, 3, 4];
        attributes.extend([12, 0, 1, 0]);
        attributes.extend(b"too big\0");
        assert_eq!(words(&answer(&attributes)).as_deref(), Some("too big"));
        assert_eq!(words(&answer(&attributes[..8])), None);
        assert_eq!(words(&ErrorMessage::default()), None);
    }

    #[test]
    fn lengths_that_lie_are_no_words_and_no_panic() {
        for attributes in [
            &[0_u8, 0, 1, 0][..],
            &[3, 0, 1, 0],
            &[255, 255, 1, 0, b'a'],
            &[4, 0, 1, 0],
            &[5, 0, 2, 0, 9],
            &[1],
        ] {
            assert_eq!(words(&answer(attributes)), None, "{attributes:?}");
        }
    }
}
