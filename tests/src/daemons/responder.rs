//! A time server that answers as a test says: late, at length, from elsewhere.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use ntpguard_common::wire::ntp;

use crate::{namespace::Namespace, packets::ntp::Message};

/// How often it looks for what is due.
const TICK: Duration = Duration::from_millis(10);

/// Seconds from the era of NTP to that of Unix.
const ERA: u64 = 2_208_988_800;

/// How it answers.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How long after the request.
    pub delay: Duration,
    /// Zeros behind the header.
    pub longer: usize,
    /// From where, if not from where it was asked.
    pub from: Option<SocketAddr>,
    /// To another port of the client's than that which asked: so many further.
    pub ports_away: u16,
    /// The mode of its answers.
    pub mode: u8,
    /// The origin timestamp that it gives for a request's transmit timestamp.
    pub origin: fn(u64) -> u64,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            longer: 0,
            from: None,
            ports_away: 0,
            mode: 4,
            origin: |transmit| transmit,
        }
    }
}

/// A running server. It ends on drop.
#[derive(Debug)]
pub struct Responder {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Answers what comes to port 123 of `address`.
    ///
    /// # Errors
    ///
    /// When something else has a port.
    pub fn start(namespace: &Namespace, address: IpAddr, manner: Manner) -> Result<Self> {
        Self::start_at(namespace, (address, ntp::PORT).into(), manner)
    }

    /// Answers what comes to a port of an address, which may be one of an interface.
    ///
    /// # Errors
    ///
    /// As for [`Responder::start`].
    pub fn start_at(namespace: &Namespace, at: SocketAddr, manner: Manner) -> Result<Self> {
        let bind = |at: SocketAddr| {
            namespace.enter(|| UdpSocket::bind(at).with_context(|| format!("cannot bind {at}")))
        };
        let asked = bind(at)?;
        asked.set_read_timeout(Some(TICK))?;
        let answering = match manner.from {
            Some(from) => bind(from)?,
            None => asked.try_clone()?,
        };
        let ending = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let ending = Arc::clone(&ending);
            move || answer(&asked, &answering, manner, &ending)
        });
        Ok(Self {
            ending,
            thread: Some(thread),
        })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say; a panic of its own was printed.
            drop(thread.join());
        }
    }
}

/// A reply, to whom, and when it is due.
struct Pending {
    due: Instant,
    to: SocketAddr,
    reply: Vec<u8>,
}

fn answer(asked: &UdpSocket, answering: &UdpSocket, manner: Manner, ending: &AtomicBool) {
    let mut pending: Vec<Pending> = Vec::new();
    let mut buffer = [0; 2048];
    while !ending.load(Ordering::Relaxed) {
        if let Ok((length, from)) = asked.recv_from(&mut buffer)
            && let Some(reply) = reply(&buffer[..length], manner)
        {
            let mut to = from;
            to.set_port(from.port().wrapping_add(manner.ports_away));
            pending.push(Pending {
                due: Instant::now() + manner.delay,
                to,
                reply,
            });
        }
        let now = Instant::now();
        for due in pending.extract_if(.., |one| one.due <= now) {
            // Where the client's port is closed the next call says so; the client asks again.
            drop(answering.send_to(&due.reply, due.to));
        }
    }
}

fn reply(request: &[u8], manner: Manner) -> Option<Vec<u8>> {
    let first = *request.first()?;
    let transmit = request.get(40..48)?.try_into().ok()?;
    let now = timestamp();
    let reply = Message {
        stratum: 1,
        reference_id: *b"TEST",
        origin: (manner.origin)(u64::from_be_bytes(transmit)),
        receive: now,
        transmit: now + 1,
        rest: vec![0; manner.longer],
        ..Message::new(first >> 3 & 7, manner.mode)
    };
    Some(reply.to_vec())
}

/// The time of day.
fn timestamp() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    (now.as_secs() + ERA) << 32 | fraction
}
