//! Questions to the kernel over rtnetlink, which answers for the network namespace of the thread.

use std::{future::Future, io, thread};

use futures_util::TryStreamExt as _;
use nix::libc::ENODEV;
use rtnetlink::{
    Handle,
    packet_route::{
        RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage, LinkXdp, Prop, XdpAttached},
    },
    proto,
    sys::AsyncSocket as _,
};
use tokio::{runtime, task::JoinHandle};

use crate::datapath::{Error, attach::AttachPoint};

/// A connection, served by a task that ends with it.
pub(in crate::datapath) struct Connection {
    /// Asks the questions.
    pub(in crate::datapath) handle: Handle,
    task: JoinHandle<()>,
}

impl Connection {
    /// Opens a connection on the current tokio runtime.
    pub(in crate::datapath) fn open() -> Result<Self, Error> {
        let (mut connection, handle, _) = rtnetlink::new_connection()
            .map_err(|source| Error::system("open an rtnetlink socket", source))?;
        ask_for_words(&mut connection);
        Ok(Self {
            handle,
            task: tokio::spawn(connection),
        })
    }

    /// What the kernel knows of the interface `name`, if there is one.
    pub(in crate::datapath) async fn link_by_name(
        &self,
        name: &str,
    ) -> Result<Option<LinkMessage>, Error> {
        let request = self.handle.link().get().match_name(name.to_owned());
        first(request.execute().try_next().await, || {
            format!("query interface {name}")
        })
    }

    /// What the kernel knows of the interface of this index, if there is one.
    pub(in crate::datapath) async fn link_by_index(
        &self,
        index: u32,
    ) -> Result<Option<LinkMessage>, Error> {
        let request = self.handle.link().get().match_index(index);
        first(request.execute().try_next().await, || {
            format!("query interface {index}")
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn first(
    answer: Result<Option<LinkMessage>, rtnetlink::Error>,
    doing: impl Fn() -> String,
) -> Result<Option<LinkMessage>, Error> {
    match answer {
        Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -ENODEV => Ok(None),
        Err(source) => Err(Error::Netlink {
            doing: doing(),
            source,
        }),
        Ok(link) => Ok(link),
    }
}

/// The name in an answer.
pub(in crate::datapath) fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}

/// The alternative names in an answer.
pub(super) fn other_names(link: &LinkMessage) -> impl Iterator<Item = &str> {
    let properties = link.attributes.iter().filter_map(|part| match part {
        LinkAttribute::PropList(properties) => Some(properties),
        _ => None,
    });
    properties.flatten().filter_map(|property| match property {
        Prop::AltIfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// The XDP program that an interface has, whoever put it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) struct Occupant {
    /// Where it is attached; `None` for offloaded to the device, or several at once.
    pub(in crate::datapath) hook: Option<Xdp>,
    /// The number of the program, 0 where the kernel tells none.
    pub(in crate::datapath) program_id: u32,
}

/// The XDP program in an answer.
pub(in crate::datapath) fn occupant(link: &LinkMessage) -> Option<Occupant> {
    let xdp = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Xdp(xdp) => Some(xdp),
            _ => None,
        })?;
    let attached = xdp.iter().find_map(|part| match part {
        LinkXdp::Attached(attached) => Some(*attached),
        _ => None,
    })?;
    let hook = match attached {
        XdpAttached::None => return None,
        XdpAttached::Driver => Some(Xdp::Native),
        XdpAttached::SocketBuffer => Some(Xdp::Generic),
        _ => None,
    };
    let program_id = xdp.iter().find_map(|part| match part {
        LinkXdp::ProgId(id) => Some(*id),
        _ => None,
    });
    Some(Occupant {
        hook,
        program_id: program_id.unwrap_or(0),
    })
}

/// What the kernel knows of the interface of this index, if there is one.
pub(in crate::datapath) fn ask(index: u32) -> Result<Option<LinkMessage>, Error> {
    blocking(async move { Connection::open()?.link_by_index(index).await })
}

/// Asks from code that is not async. A thread of its own makes this safe inside a runtime too,
/// and inherits the network namespace of the one that asks.
pub(in crate::datapath) fn blocking<T, F>(question: F) -> Result<T, Error>
where
    T: Send,
    F: Future<Output = Result<T, Error>> + Send,
{
    let ask = || {
        runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_or_else(
                |source| Err(Error::system("start a runtime for rtnetlink", source)),
                |runtime| runtime.block_on(question),
            )
    };
    thread::scope(|scope| {
        let asker = thread::Builder::new()
            .name("rtnetlink".to_owned())
            .spawn_scoped(scope, ask)
            .map_err(|source| Error::system("start a thread for rtnetlink", source))?;
        asker.join().unwrap_or_else(|_| {
            Err(Error::system(
                "query rtnetlink",
                io::Error::other("its thread stopped early"),
            ))
        })
    })
}

/// The two XDP hooks of an interface, of which one can have a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Xdp {
    Native,
    Generic,
}

impl Xdp {
    pub(in crate::datapath) const fn how(self) -> AttachPoint {
        match self {
            Self::Native => AttachPoint::Native,
            Self::Generic => AttachPoint::Generic,
        }
    }
}

/// Has the kernel put words beside its error numbers on this connection. Old ones cannot.
fn ask_for_words(connection: &mut proto::Connection<RouteNetlinkMessage>) {
    let socket = connection.socket_mut().socket_mut();
    let asked = socket
        .set_ext_ack(true)
        // The message that is answered is known here.
        .and_then(|()| socket.set_cap_ack(true));
    if let Err(error) = asked {
        tracing::debug!("rtnetlink errors will lack a description: {error}");
    }
}
