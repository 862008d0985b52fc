//! The kernel's own words for an error, which rtnetlink has beside the number (`NLMSGERR_ATTR_MSG`).

use std::os::fd::{AsRawFd as _, BorrowedFd};

use futures_util::StreamExt as _;
use rtnetlink::{
    packet_core::{ErrorMessage, NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage, LinkXdp},
    },
    proto::Connection,
    sys::AsyncSocket as _,
};

use super::netlink::{self, blocking};
use crate::datapath::{Error, interface::netlink::Xdp};

/// What stands before the attributes: the header of the message that is answered.
const HEADER: usize = 16;

/// The attribute that has the words, with the bits that are no part of its number.
const MESSAGE: u16 = 1;
const FLAGS: u16 = 0xc000;

/// Each attribute begins at a multiple of this.
const ALIGNMENT: usize = 4;

/// From the kernel's `include/uapi/linux/if_link.h`: no program that is there is replaced.
const UPDATE_IF_NOEXIST: u32 = 1 << 0;
const SKB_MODE: u32 = 1 << 1;
const DRV_MODE: u32 = 1 << 2;

/// Has the kernel put words beside its error numbers on this connection. Old ones cannot.
pub(in crate::datapath) fn ask_for_words(connection: &mut Connection<RouteNetlinkMessage>) {
    let socket = connection.socket_mut().socket_mut();
    let asked = socket
        .set_ext_ack(true)
        // The message that is answered is known here.
        .and_then(|()| socket.set_cap_ack(true));
    if let Err(error) = asked {
        tracing::debug!("errors of rtnetlink come without words: {error}");
    }
}

/// The words beside an error.
pub(in crate::datapath) fn words(error: &ErrorMessage) -> Option<String> {
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

/// Why the XDP hook of an interface does not take a program, in the words of the driver or the network
/// stack. A BPF link has none, so the kernel is asked once more over rtnetlink; should it take the
/// program then, that is taken off again.
pub(in crate::datapath) fn of_xdp(
    program: BorrowedFd<'_>,
    interface: u32,
    hook: Xdp,
) -> Option<String> {
    let mode = match hook {
        Xdp::Native => DRV_MODE,
        Xdp::Generic => SKB_MODE,
    };
    let fd = program.as_raw_fd();
    let asked = blocking(async move {
        let connection = netlink::Connection::open()?;
        let answer = set(&connection, interface, fd, mode | UPDATE_IF_NOEXIST).await?;
        if answer.is_none() {
            set(&connection, interface, -1, mode).await?;
        }
        Ok(answer)
    });
    asked.ok().flatten().as_ref().and_then(words)
}

/// Puts a program on a hook, or takes it off; the error that the kernel answers, if it does.
async fn set(
    connection: &netlink::Connection,
    interface: u32,
    program: i32,
    flags: u32,
) -> Result<Option<ErrorMessage>, Error> {
    let mut link = LinkMessage::default();
    link.header.index = interface;
    let xdp = vec![LinkXdp::Fd(program), LinkXdp::Flags(flags)];
    link.attributes.push(LinkAttribute::Xdp(xdp));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::SetLink(link));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut handle = connection.handle.clone();
    let mut answers = handle.request(request).map_err(|source| Error::Netlink {
        doing: format!("ask why interface {interface} takes no program"),
        source,
    })?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(message) = answer.payload
            && message.code.is_some()
        {
            return Ok(Some(message));
        }
    }
    Ok(None)
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
