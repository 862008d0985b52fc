//! A client that asks a server many times a second, and counts its answers.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use ntpguard_common::wire::ntp;
use ntpguard_tests::{
    packets::{self, ntp::Message},
    switch::Host,
};

/// How often a thread looks whether it shall end.
const TICK: Duration = Duration::from_millis(50);

/// A thread that ends with its owner.
#[derive(Debug)]
struct Worker {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(mut step: impl FnMut() + Send + 'static) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ending);
        let work = move || {
            while !end.load(Ordering::Relaxed) {
                step();
            }
        };
        Self {
            ending,
            thread: Some(thread::spawn(work)),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of its own was printed.
            thread.join().ok();
        }
    }
}

/// Answers each request at once.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    _worker: Worker,
}

impl Server {
    pub(super) fn on(host: &Host) -> Result<Self> {
        let address = SocketAddr::new(host.v4.into(), ntp::PORT);
        let socket = packets::udp(&host.namespace, address)?;
        socket.set_read_timeout(Some(TICK))?;
        let answer = move || {
            let mut request = [0; 100];
            let Ok((_, from)) = socket.recv_from(&mut request) else {
                return;
            };
            let mut transmit = [0; 8];
            transmit.copy_from_slice(&request[40..48]);
            let request = Message::request(u64::from_be_bytes(transmit));
            // A client that is gone needs no answer.
            socket
                .send_to(&Message::reply_to(&request).to_vec(), from)
                .ok();
        };
        Ok(Self {
            address,
            _worker: Worker::start(answer),
        })
    }
}

/// Asks again and again.
#[derive(Debug)]
pub(super) struct Client {
    answered: Arc<AtomicU64>,
    _asking: Worker,
    _hearing: Worker,
}

impl Client {
    pub(super) fn asks(host: &Host, server: SocketAddr, rate: u64) -> Result<Self> {
        let socket = packets::udp(&host.namespace, SocketAddr::new(host.v4.into(), 0))?;
        socket.set_read_timeout(Some(TICK))?;
        let hearing: UdpSocket = socket.try_clone()?;
        let answered = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&answered);
        let hear = move || {
            if hearing.recv(&mut [0; 100]).is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let mut transmit = 0xeeae_5526_0000_0000_u64;
        let ask = move || {
            transmit += 1;
            // What does not arrive is not answered.
            socket
                .send_to(&Message::request(transmit).to_vec(), server)
                .ok();
            thread::sleep(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1));
        };
        Ok(Self {
            answered,
            _hearing: Worker::start(hear),
            _asking: Worker::start(ask),
        })
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}
