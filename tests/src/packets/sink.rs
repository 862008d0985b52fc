//! Where packets end that no guard stopped.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv6Addr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use ntpguard_common::wire::ntp;

use crate::{namespace::Namespace, wait::eventually};

/// Bytes that may wait to be counted.
pub(super) const ROOM: usize = 64 << 20;

/// How often the thread looks whether it shall end.
const TICK: Duration = Duration::from_millis(50);

/// A socket on every address of a namespace, that counts the datagrams it gets from others by their
/// source.
/// It ends on drop.
#[derive(Debug)]
pub struct Sink {
    namespace: Namespace,
    port: u16,
    received: Arc<Mutex<HashMap<IpAddr, u64>>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Counts what arrives at port 123.
    ///
    /// # Errors
    ///
    /// When something else has the port.
    pub fn ntp(namespace: &Namespace) -> Result<Self> {
        Self::on(namespace, ntp::PORT)
    }

    /// Counts what arrives at any port.
    ///
    /// # Errors
    ///
    /// When something else has the port.
    pub fn on(namespace: &Namespace, port: u16) -> Result<Self> {
        // IPv4 arrives here too, from mapped addresses.
        let every = (Ipv6Addr::UNSPECIFIED, port);
        let socket = namespace
            .enter(|| UdpSocket::bind(every).with_context(|| format!("cannot bind port {port}")))?;
        setsockopt(&socket, RcvBufForce, &ROOM).context("cannot make room for datagrams")?;
        socket.set_read_timeout(Some(TICK))?;
        let received = Arc::new(Mutex::new(HashMap::new()));
        let ending = Arc::new(AtomicBool::new(false));
        let (counts, stop) = (Arc::clone(&received), Arc::clone(&ending));
        let thread = thread::spawn(move || count(&socket, &counts, &stop));
        Ok(Self {
            namespace: namespace.clone(),
            port,
            received,
            ending,
            thread: Some(thread),
        })
    }

    /// Datagrams that arrived so far.
    pub fn count(&self) -> u64 {
        self.by_source().values().sum()
    }

    /// Datagrams that arrived so far from `source`.
    pub fn count_from(&self, source: IpAddr) -> u64 {
        self.by_source().get(&source).copied().unwrap_or(0)
    }

    /// Datagrams that arrived so far, by their source.
    pub fn by_source(&self) -> HashMap<IpAddr, u64> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until at least `count` datagrams have arrived.
    ///
    /// # Errors
    ///
    /// When that takes longer than `limit`; with what did arrive.
    pub fn wait_for(&self, count: u64, limit: Duration) -> Result<()> {
        eventually(limit, "datagrams at the sink", || {
            let by_source = self.by_source();
            let seen: u64 = by_source.values().sum();
            let lost = self.lost()?;
            ensure!(
                seen >= count,
                "{seen} of {count} arrived, {lost} lost: {by_source:?}"
            );
            Ok(())
        })
    }

    /// Datagrams that reached the socket and found no room: they arrived, but are not counted.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub fn lost(&self) -> Result<u64> {
        // /proc/net would be the namespace of the process, not of the thread.
        let table = "/proc/thread-self/net/udp6";
        let text = self
            .namespace
            .enter(|| fs::read_to_string(table).with_context(|| format!("cannot read {table}")))?;
        let port = format!(":{:04X}", self.port);
        let row = text
            .lines()
            .find(|line| {
                line.split_whitespace()
                    .nth(1)
                    .is_some_and(|local| local.ends_with(&port))
            })
            .with_context(|| format!("no socket with port {} in {table}", self.port))?;
        let drops = row.split_whitespace().next_back().unwrap_or_default();
        drops
            .parse()
            .with_context(|| format!("cannot read {row} of {table}"))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            eprintln!("the sink of {} panicked", self.namespace.name());
        }
    }
}

fn count(socket: &UdpSocket, counts: &Mutex<HashMap<IpAddr, u64>>, ending: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !ending.load(Ordering::Relaxed) {
        if let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let source = from.ip().to_canonical();
            // A guard asks the ntpd of its host at this port. That crosses no interface.
            if source.is_loopback() {
                continue;
            }
            *counts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(source)
                .or_default() += 1;
        }
    }
}
