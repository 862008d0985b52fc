//! A DNS server whose answers a test can choose, and change while it runs.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hickory_proto::{op::Message, rr::RecordType};

mod zone;

pub use zone::Behaviour;
use zone::{Answer, Zone};

use crate::namespace::Namespace;

const PORT: u16 = 53;

/// The most bytes of an answer over UDP unless the question offers room for more (RFC 1035
/// section 4.2.1).
const UDP_ROOM: u16 = 512;

/// How often the threads look whether they shall end.
const TICK: Duration = Duration::from_millis(50);

/// How long a TCP connection may be idle.
const IDLE: Duration = Duration::from_secs(5);

/// A question the server got.
#[derive(Clone, Debug)]
pub struct Question {
    /// The name, in lower case and without its last dot.
    pub name: String,
    /// A, AAAA…
    pub kind: RecordType,
    /// Whether it came over TCP.
    pub tcp: bool,
    /// When.
    pub at: Instant,
}

/// A DNS server over UDP and TCP, on port 53 of one address. It ends on drop.
#[derive(Debug)]
pub struct DnsServer {
    address: IpAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    zone: Mutex<Zone>,
    questions: Mutex<Vec<Question>>,
    ending: AtomicBool,
}

impl DnsServer {
    /// Starts a server that knows no name, on an address that `namespace` has.
    ///
    /// # Errors
    ///
    /// When the address or its port 53 cannot be had.
    pub fn start(namespace: &Namespace, address: IpAddr) -> Result<Self> {
        let at = SocketAddr::new(address, PORT);
        let (udp, tcp) = namespace.enter(|| {
            let udp = UdpSocket::bind(at).with_context(|| format!("cannot bind UDP {at}"))?;
            let tcp = TcpListener::bind(at).with_context(|| format!("cannot bind TCP {at}"))?;
            Ok((udp, tcp))
        })?;
        udp.set_read_timeout(Some(TICK))?;
        tcp.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        let (for_udp, for_tcp) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            thread::spawn(move || for_udp.serve_udp(&udp)),
            thread::spawn(move || for_tcp.serve_tcp(&tcp)),
        ];
        Ok(Self {
            address,
            shared,
            threads,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Chooses how a name is answered from now on.
    pub fn set(&self, name: &str, behaviour: Behaviour) {
        lock(&self.shared.zone).set(name, behaviour);
    }

    /// Answers a name with these addresses, which live for a minute.
    pub fn set_fixed(&self, name: &str, addresses: &[IpAddr]) {
        self.set(
            name,
            Behaviour::Fixed {
                addresses: addresses.to_vec(),
                ttl: 60,
            },
        );
    }

    /// The questions it got so far.
    pub fn questions(&self) -> Vec<Question> {
        lock(&self.shared.questions).clone()
    }

    /// How many questions for `name` it got so far.
    pub fn asked(&self, name: &str) -> usize {
        let name = zone::plain(name);
        lock(&self.shared.questions)
            .iter()
            .filter(|question| question.name == name)
            .count()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("a thread of the DNS server on {} panicked", self.address);
            }
        }
    }
}

impl Shared {
    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while !self.is_ending() {
            let Ok((len, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let question = buffer.get(..len).unwrap_or_default();
            if let Some(answer) = self.answer(question, false) {
                // Whoever asked may be gone; then nobody misses the answer.
                drop(socket.send_to(&answer, from));
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        while !self.is_ending() {
            match listener.accept() {
                // One after another is enough for a test.
                Ok((stream, _)) => drop(self.converse(stream)),
                Err(_) => thread::sleep(TICK),
            }
        }
    }

    /// Answers until the other side ends, or says nothing.
    fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(IDLE))?;
        stream.set_read_timeout(Some(TICK))?;
        let mut heard = Instant::now();
        while !self.is_ending() && heard.elapsed() < IDLE {
            let mut first = [0];
            match stream.peek(&mut first) {
                Ok(0) => return Ok(()),
                Ok(_) => heard = Instant::now(),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            }
            stream.set_read_timeout(Some(IDLE))?;
            let mut len = [0; 2];
            stream.read_exact(&mut len)?;
            let mut question = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut question)?;
            stream.set_read_timeout(Some(TICK))?;
            if let Some(answer) = self.answer(&question, true) {
                let len = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
                stream.write_all(&[&len.to_be_bytes()[..], &answer].concat())?;
            }
        }
        Ok(())
    }

    /// The bytes that answer the bytes of a question, if any do.
    fn answer(&self, bytes: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let question = Message::from_vec(bytes).ok()?;
        let query = question.queries.first()?;
        lock(&self.questions).push(Question {
            name: zone::plain(&query.name().to_ascii()),
            kind: query.query_type(),
            tcp,
            at: Instant::now(),
        });
        match lock(&self.zone).answer(&question) {
            Answer::Message(answer) => {
                let whole = answer.to_vec().ok()?;
                let room = usize::from(question.max_payload().max(UDP_ROOM));
                if tcp || whole.len() <= room {
                    Some(whole)
                } else {
                    answer.truncate().to_vec().ok()
                }
            }
            // Its id is right, so that it is not taken for somebody else's.
            Answer::Garbage => Some([bytes.get(..2)?, &[0xff; 40]].concat()),
            Answer::Nothing => None,
        }
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
