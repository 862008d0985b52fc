//! What the commands `events` and `top` print.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::net::if_::if_indextoname;
use ntpguard_common::{
    events::{self, ADDRESSES, PAYLOAD, PORTS},
    reason::Reason,
    wire::ntp::FirstByte,
};
use serde::{Deserialize, Serialize};

use super::status::SCHEMA;
use crate::{clock, datapath::Mode, telemetry::top_talkers::Sender};

/// A packet that was judged, one of those that are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When, as RFC 3339 has it, to the millisecond; to within a tick of the kernel.
    pub time: String,
    /// `admitted`, `dropped`, or `would drop` in monitor mode.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// Where it arrived; absent where the interface has gone since.
    pub interface: Option<String>,
    /// Where it comes from; this and what follows is absent where the packet does not tell.
    pub source: Option<IpAddr>,
    /// The sender's port.
    pub source_port: Option<u16>,
    /// Where it goes.
    pub destination: Option<IpAddr>,
    /// The receiver's port.
    pub destination_port: Option<u16>,
    /// Bytes of UDP payload, as the UDP header says.
    pub length: Option<u16>,
    /// The version in its first byte.
    pub version: Option<u8>,
    /// The mode in its first byte.
    pub mode: Option<u8>,
    /// Packets of the same reason that were judged since one was last told, and are not told.
    pub more: u64,
}

impl Event {
    /// What the kernel told, on the host that it told it on.
    pub fn of(told: &events::Event, reason: Reason, more: u64) -> Self {
        let interface = if_indextoname(told.interface).ok();
        let since = |depth| told.depth >= depth;
        let first = since(PAYLOAD).then_some(FirstByte(told.first));
        let address =
            |bytes: [u8; 16]| since(ADDRESSES).then(|| IpAddr::from(bytes).to_canonical());
        Self {
            schema: SCHEMA,
            time: humantime::format_rfc3339_millis(clock::wall_time(told.time)).to_string(),
            verdict: verdict(reason, Mode::from_number(told.mode)).to_owned(),
            reason: reason.name().to_owned(),
            interface: interface.map(|name| name.to_string_lossy().into_owned()),
            source: address(told.source),
            source_port: since(PORTS).then_some(told.source_port),
            destination: address(told.destination),
            destination_port: since(PORTS).then_some(told.destination_port),
            length: since(PORTS).then_some(told.payload_len),
            version: first.map(FirstByte::version),
            mode: first.map(|first| first.mode() as u8),
            more,
        }
    }
}

/// The verdict of monitor mode on what it does not admit.
pub const WOULD_DROP: &str = "would drop";

/// What became of a packet.
const fn verdict(reason: Reason, mode: Mode) -> &'static str {
    match (reason.admits(), mode) {
        (true, _) => "admitted",
        (false, Mode::Enforce) => "dropped",
        (false, Mode::Monitor) => WOULD_DROP,
    }
}

/// The answer to `ntpguard top`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Those who sent most of what was not admitted, the most first.
    pub senders: Vec<TopSender>,
}

/// A sender, and his packets of one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopSender {
    /// An IPv4 address, or an IPv6 /64.
    pub source: IpNet,
    /// `dropped`, or `would drop` in monitor mode.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// How many there were, as estimated from those that were told; halved every five minutes.
    pub packets: u64,
    /// How many of these may be another sender's.
    pub error: u64,
    /// Seconds since the last that was told.
    pub seconds_ago: u64,
}

impl Top {
    /// What the sketch says at this moment of monotonic time, in nanoseconds.
    pub fn of(senders: &[Sender], now: u64) -> Self {
        let row = |sender: &Sender| TopSender {
            source: sender.kind.source,
            verdict: verdict(sender.kind.reason, sender.kind.mode).to_owned(),
            reason: sender.kind.reason.name().to_owned(),
            packets: sender.packets,
            error: sender.error,
            seconds_ago: now.saturating_sub(sender.last) / 1_000_000_000,
        };
        Self {
            schema: SCHEMA,
            senders: senders.iter().map(row).collect(),
        }
    }
}
