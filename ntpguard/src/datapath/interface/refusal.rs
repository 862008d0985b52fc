//! Why an interface takes no program, in the words of its driver.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use futures_util::StreamExt as _;
use rtnetlink::{
    packet_core::{ErrorMessage, NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage, LinkXdp},
    },
};

use super::netlink::{self, blocking};
use crate::{
    datapath::{Error, interface::netlink::Xdp},
    extack::words,
};

/// From the kernel's `include/uapi/linux/if_link.h`: no program that is there is replaced.
const UPDATE_IF_NOEXIST: u32 = 1 << 0;
const SKB_MODE: u32 = 1 << 1;
const DRV_MODE: u32 = 1 << 2;

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
        doing: format!("query why interface {interface} rejects the program"),
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
