//! Sends shapes, and sees which of them reach a socket.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ntpguard_common::wire::ntp;
use ntpguard_tests::{
    lab::Lab,
    packets::{frame, raw::RawSocket, sink::Sink},
};

use super::shapes::{OTHER_PORT, Shape};

/// Frames that are under way at once at most: an interface with an XDP program of its own queues 256.
const AT_ONCE: usize = 100;

/// How long such a batch may take.
const SOON: Duration = Duration::from_secs(5);

/// What every batch ends with goes here. No guard looks at it.
const MARKER_PORT: u16 = 4_321;

/// How long the host keeps fragments of packets that are not whole, in whole seconds: those of one pass
/// must not meet those of the next.
const FRAGMENTS_KEPT: [&str; 2] = ["net.ipv4.ipfrag_time=1", "net.ipv6.ip6frag_time=1"];
const FRAGMENTS_GONE: Duration = Duration::from_millis(1_500);

/// With these a host takes the packet out that is behind a routing header of its own (`SRv6`, RPL).
const UNWRAPS: [&str; 2] = ["seg6_enabled", "rpl_seg_enabled"];

/// The sources of what arrived.
pub(super) type Arrivals = HashSet<IpAddr>;

/// A cable to a host whose ports are listened on.
pub(super) struct Wire<'a> {
    lab: &'a Lab,
    raw: RawSocket,
    other: Sink,
    markers: Sink,
    marker: Vec<u8>,
}

impl<'a> Wire<'a> {
    pub(super) fn new(lab: &'a Lab) -> Result<Self> {
        let from = SocketAddr::new(lab.outside.v4.into(), MARKER_PORT);
        let to = SocketAddr::new(lab.inside.v4.into(), MARKER_PORT);
        let unwraps = UNWRAPS.map(|setting| {
            let interface = &lab.inside.port.interface;
            [
                format!("net.ipv6.conf.all.{setting}=1"),
                format!("net.ipv6.conf.{interface}.{setting}=1"),
            ]
        });
        for setting in FRAGMENTS_KEPT
            .map(str::to_owned)
            .iter()
            .chain(unwraps.as_flattened())
        {
            lab.inside.namespace.run(&["sysctl", "-w", setting])?;
        }
        Ok(Self {
            lab,
            raw: RawSocket::open(&lab.outside.port)?,
            other: Sink::on(&lab.inside.namespace, OTHER_PORT)?,
            markers: Sink::on(&lab.inside.namespace, MARKER_PORT)?,
            marker: lab.wrap(&frame::udp(from, to, b"marker")?, &[]),
        })
    }

    /// Sends each shape once, and gives the sources of those that came to port 123 or from it.
    pub(super) fn pass(&self, shapes: &[Shape]) -> Result<Arrivals> {
        let before = (self.lab.sink.by_source(), self.other.by_source());
        let mut waiting = 0;
        for shape in shapes {
            for frame in &shape.frames {
                self.raw.send(frame)?;
            }
            waiting += shape.frames.len();
            if waiting >= AT_ONCE {
                self.flush()?;
                waiting = 0;
            }
        }
        self.flush()?;
        self.lab.flush()?;
        thread::sleep(FRAGMENTS_GONE);
        let mut arrived = Arrivals::new();
        for (sink, before) in [(&self.lab.sink, before.0), (&self.other, before.1)] {
            let after = sink.by_source();
            arrived.extend(
                after
                    .into_iter()
                    .filter(|(source, count)| before.get(source).is_none_or(|seen| seen < count))
                    .map(|(source, _)| source),
            );
        }
        Ok(arrived)
    }

    /// Waits until the host has taken what was sent.
    fn flush(&self) -> Result<()> {
        let seen = self.markers.count();
        self.raw.send(&self.marker)?;
        let end = Instant::now() + SOON;
        while self.markers.count() == seen {
            ensure!(Instant::now() < end, "a marker was lost");
            thread::yield_now();
        }
        Ok(())
    }
}

/// The port that replies to port 123 do not go to, which some shapes do.
const _: () = assert!(OTHER_PORT != ntp::PORT);
