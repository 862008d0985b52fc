//! Filters on the two sides of an interface (clsact), for kernels before tcx.
//!
//! The kernel itself is the record of ours: it is the filter of our program's name, whatever
//! priority and handle it got. The clsact qdisc may be anybody's, and is removed only when it
//! holds no filter any more.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use futures_util::{StreamExt as _, TryStreamExt as _};
use nix::libc::{EEXIST, EINVAL, ENOENT};
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
        NetlinkPayload,
    },
    packet_route::{
        RouteNetlinkMessage,
        tc::{
            TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
        },
    },
};

use crate::datapath::{
    Error,
    interface::netlink::{Connection, blocking},
    object::programs::Kind,
    pins::Hook,
};

/// The places to try, the one before all others first.
const FIRST: std::ops::RangeInclusive<u16> = 1..=16;

/// The place that the kernel chooses.
const ANY_PLACE: u16 = 0;

/// Every protocol, in the byte order of the wire.
const ALL_PROTOCOLS: u16 = 0x0003_u16.to_be();

/// A filter of ours on an interface.
#[derive(Clone, Debug)]
pub(in crate::datapath) struct Filter {
    interface: u32,
    message: TcMessage,
}

/// Finds our filter on one side of an interface.
pub(in crate::datapath) fn find(hook: Hook, interface: u32) -> Result<Option<Filter>, Error> {
    let found = list(hook, interface)?;
    Ok(found
        .into_iter()
        .find(|message| is_ours(hook, message))
        .map(|message| Filter { interface, message }))
}

/// What filters a side of an interface has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::datapath) enum Filters {
    /// Ours, with this program, by its number.
    Ours(u32),
    /// Not ours.
    Without,
    /// There is no qdisc for them.
    NoQdisc,
}

/// Looks for our filter on one side of an interface.
pub(in crate::datapath) async fn look(
    connection: &Connection,
    interface: u32,
    hook: Hook,
) -> Result<Filters, Error> {
    let found = filters(connection, interface, hook).await?;
    if let Some(ours) = found.iter().find(|message| is_ours(hook, message)) {
        return Ok(Filters::Ours(program(ours).unwrap_or(0)));
    }
    Ok(if has_clsact(connection, interface).await? {
        Filters::Without
    } else {
        Filters::NoQdisc
    })
}

/// The filters that run before ours, by kind and priority.
pub(in crate::datapath) fn before_ours(hook: Hook, interface: u32) -> Result<Vec<String>, Error> {
    let found = list(hook, interface)?;
    let others = found.iter().take_while(|message| !is_ours(hook, message));
    // The kernel lists each priority too, without a handle.
    let others = others.filter(|message| u32::from(message.header.handle) != 0);
    Ok(others.map(described).collect())
}

/// The filters of one side of an interface, in the order in which they run.
fn list(hook: Hook, interface: u32) -> Result<Vec<TcMessage>, Error> {
    blocking(async move { filters(&Connection::open()?, interface, hook).await })
}

/// Puts the program on one side of an interface: in place of the one in `old`, in one step, or
/// first of all.
pub(in crate::datapath) fn put(
    program: BorrowedFd<'_>,
    hook: Hook,
    interface: u32,
    old: Option<&Filter>,
) -> Result<(), Error> {
    let fd = program.as_raw_fd().cast_unsigned();
    let old = old.map(|filter| filter.message.header.clone());
    blocking(async move {
        let connection = Connection::open()?;
        if let Some(header) = old {
            let mut message = bpf(fd, hook, interface);
            message.header.handle = header.handle;
            message.header.info = header.info;
            let doing = || format!("replace the filter on interface {interface}");
            let request = RouteNetlinkMessage::NewTrafficFilter(message);
            return send(&connection, request, NLM_F_REPLACE, doing).await;
        }
        add_clsact(&connection, interface).await?;
        let add = |priority| {
            let mut message = bpf(fd, hook, interface);
            message.header.info = info(priority);
            let request = RouteNetlinkMessage::NewTrafficFilter(message);
            let doing = || format!("add a filter to interface {interface}");
            send(&connection, request, NLM_F_CREATE | NLM_F_EXCL, doing)
        };
        for priority in FIRST {
            match add(priority).await {
                // Another kind of filter, or one for another protocol, has this place.
                Err(error) if is(&error, EEXIST) || is(&error, EINVAL) => {}
                done => return done,
            }
        }
        add(ANY_PLACE).await
    })
}

/// Removes a filter of ours, and the clsact qdisc if nobody uses it any more.
pub(in crate::datapath) fn remove(filter: Filter) -> Result<(), Error> {
    blocking(async move {
        let connection = Connection::open()?;
        let interface = filter.interface;
        let mut message = filter.message;
        message.attributes.clear();
        let request = RouteNetlinkMessage::DelTrafficFilter(message);
        let doing = || format!("remove the filter from interface {interface}");
        send(&connection, request, 0, doing).await?;
        for hook in [Hook::Ingress, Hook::Egress] {
            if !filters(&connection, interface, hook).await?.is_empty() {
                return Ok(());
            }
        }
        let request = RouteNetlinkMessage::DelQueueDiscipline(clsact(interface));
        let doing = || format!("remove the clsact qdisc from interface {interface}");
        send(&connection, request, 0, doing).await
    })
}

/// The list of filters that a clsact qdisc has for a hook.
const fn handle(hook: Hook) -> TcHandle {
    TcHandle {
        major: 0xffff,
        minor: match hook {
            Hook::Ingress => TcHandle::MIN_INGRESS,
            Hook::Egress => TcHandle::MIN_EGRESS,
        },
    }
}

/// The filters of one side; none where the interface has no clsact qdisc.
async fn filters(
    connection: &Connection,
    interface: u32,
    hook: Hook,
) -> Result<Vec<TcMessage>, Error> {
    let mut filters = connection.handle.traffic_filter(interface.cast_signed());
    let request = match hook {
        Hook::Ingress => filters.get().ingress(),
        Hook::Egress => filters.get().egress(),
    };
    let found: Result<Vec<TcMessage>, rtnetlink::Error> = request.execute().try_collect().await;
    match found {
        Ok(found) => Ok(found),
        Err(rtnetlink::Error::NetlinkError(message))
            if matches!(-message.raw_code(), EINVAL | ENOENT) =>
        {
            Ok(Vec::new())
        }
        Err(source) => Err(Error::Netlink {
            doing: format!("list the filters of interface {interface}"),
            source,
        }),
    }
}

/// Whether a message is of our filter.
fn is_ours(hook: Hook, message: &TcMessage) -> bool {
    message.attributes.iter().any(|part| {
        matches!(part, TcAttribute::Options(options) if options.iter().any(|option| {
            matches!(option, TcOption::Bpf(TcFilterBpfOption::ProgName(name))
                if name.trim_end_matches('\0') == Kind::on_tc(hook).name())
        }))
    })
}

/// The number of a filter's program.
fn program(message: &TcMessage) -> Option<u32> {
    let options = message.attributes.iter().find_map(|part| match part {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    })?;
    options.iter().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
        _ => None,
    })
}

/// Whether an interface has a clsact qdisc.
async fn has_clsact(connection: &Connection, interface: u32) -> Result<bool, Error> {
    let index = interface.cast_signed();
    let request = connection.handle.qdisc().get().index(index).execute();
    let qdiscs: Vec<TcMessage> = request
        .try_collect()
        .await
        .map_err(|source| Error::Netlink {
            doing: format!("list the qdiscs of interface {interface}"),
            source,
        })?;
    // The kernel lists those of all interfaces.
    Ok(qdiscs.iter().any(|qdisc| {
        qdisc.header.index == index
            && qdisc
                .attributes
                .iter()
                .any(|part| matches!(part, TcAttribute::Kind(kind) if kind == "clsact"))
    }))
}

/// A filter for people.
fn described(message: &TcMessage) -> String {
    let kind = message.attributes.iter().find_map(|part| match part {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    });
    let priority = TcHandle::from(message.header.info).major;
    let kind = kind.unwrap_or("unknown");
    format!("a filter of kind {kind} with priority {priority}")
}

/// A filter that is the program, which decides by itself (direct action).
fn bpf(fd: u32, hook: Hook, interface: u32) -> TcMessage {
    let mut message = TcMessage::with_index(interface.cast_signed());
    message.header.parent = handle(hook);
    message
        .attributes
        .push(TcAttribute::Kind(TcFilterBpf::KIND.to_owned()));
    message.attributes.push(TcAttribute::Options(vec![
        TcOption::Bpf(TcFilterBpfOption::ProgFd(fd)),
        TcOption::Bpf(TcFilterBpfOption::ProgName(
            Kind::on_tc(hook).name().to_owned(),
        )),
        TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
    ]));
    message
}

/// Priority and protocol, as a filter's header carries them.
fn info(priority: u16) -> u32 {
    u32::from(TcHandle {
        major: priority,
        minor: ALL_PROTOCOLS,
    })
}

fn clsact(interface: u32) -> TcMessage {
    let mut message = TcMessage::with_index(interface.cast_signed());
    message.header.parent = TcHandle::CLSACT;
    message.header.handle = TcHandle {
        major: 0xffff,
        minor: 0,
    };
    message
        .attributes
        .push(TcAttribute::Kind("clsact".to_owned()));
    message
}

/// Gives an interface a clsact qdisc if it has none.
async fn add_clsact(connection: &Connection, interface: u32) -> Result<(), Error> {
    let request = RouteNetlinkMessage::NewQueueDiscipline(clsact(interface));
    let doing = || format!("add a clsact qdisc to interface {interface}");
    match send(connection, request, NLM_F_CREATE | NLM_F_EXCL, doing).await {
        Err(error) if is(&error, EEXIST) => Ok(()),
        done => done,
    }
}

/// Sends a request that the kernel only says yes or no to.
async fn send(
    connection: &Connection,
    message: RouteNetlinkMessage,
    flags: u16,
    doing: impl Fn() -> String,
) -> Result<(), Error> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let failed = |source| Error::Netlink {
        doing: doing(),
        source,
    };
    let mut handle = connection.handle.clone();
    let mut answers = handle.request(request).map_err(failed)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(message) = answer.payload
            && message.code.is_some()
        {
            return Err(failed(rtnetlink::Error::NetlinkError(message)));
        }
    }
    Ok(())
}

fn is(error: &Error, number: i32) -> bool {
    matches!(error, Error::Netlink { source: rtnetlink::Error::NetlinkError(message), .. }
        if message.raw_code() == -number)
}
