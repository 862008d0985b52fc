//! Two hosts that answer each other's errors for ever, and the one forged packet that sets them off.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, ensure};
use ntpguard_common::{reason::Reason, wire::ntp};
use ntpguard_tests::{
    config::ConfigFile,
    guard::Guard,
    namespace::Namespace,
    packets::{
        self,
        frame::{self, Ethernet},
        raw::RawSocket,
    },
    switch::Switch,
    wait::eventually,
};

const SOON: Duration = Duration::from_secs(10);

/// How long nothing is to happen.
const QUIET: Duration = Duration::from_millis(300);

/// Answers that show that there is a loop.
const MANY: u64 = 2_000;

/// A server with the fault: it answers what arrives at its port 123 with an error, also what is an
/// error itself.
struct Faulty {
    answered: Arc<AtomicU64>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Faulty {
    fn start(namespace: &Namespace, local: SocketAddr, error: Vec<u8>) -> Result<Self> {
        let socket: UdpSocket = packets::udp(namespace, local)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (answered, ending) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (count, stop) = (Arc::clone(&answered), Arc::clone(&ending));
        let thread = thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((_, from)) = socket.recv_from(&mut buffer)
                    && socket.send_to(&error, from).is_ok()
                {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self {
            answered,
            ending,
            thread: Some(thread),
        })
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            eprintln!("a faulty server panicked");
        }
    }
}

/// Sets two faulty servers off, lets them loop, and then guards one of them, for which the other is a
/// server and a client. Neither answers any more, and new forged packets set nothing off.
fn ends_with_a_guard(name: &str, source: &str, error: &[u8], reason: Reason) -> Result<()> {
    let switch = Switch::new()?;
    let (guarded, other) = (switch.host("guarded", 1)?, switch.host("other", 2)?);
    let attacker = switch.host("attacker", 3)?;
    let ends = [&guarded, &other].map(|host| SocketAddr::new(host.v4.into(), ntp::PORT));
    let [inside, outside] = ends;
    let here = Faulty::start(&guarded.namespace, inside, error.to_vec())?;
    let there = Faulty::start(&other.namespace, outside, error.to_vec())?;

    let wire = RawSocket::open(&attacker.port)?;
    let ethernet = Ethernet {
        from: attacker.port.mac,
        to: guarded.port.mac,
        tags: &[],
    };
    let spark = ethernet.wrap(&frame::udp(outside, inside, error)?);
    wire.send(&spark)?;
    eventually(SOON, "a loop", || {
        let both = (here.answered(), there.answered());
        ensure!(both.0 >= MANY && both.1 >= MANY, "{both:?} answers");
        Ok(())
    })?;

    let config = ConfigFile::ntp(&format!("server {0}\nrestrict {0} noquery\n", other.v4))?;
    let guard = Guard::builder(&guarded.namespace)
        .interface(&guarded.port.interface)
        .source(config.path())
        .ready()?;
    // What was on its way has been answered before this.
    thread::sleep(QUIET);
    let looped = (here.answered(), there.answered());
    let sparks = 100;
    for _ in 0..sparks {
        wire.send(&spark)?;
    }
    let counted = eventually(SOON, "the forged packets' being dropped", || {
        let counted = guard.counters()?.enforced(reason);
        ensure!(counted > sparks, "{counted}");
        Ok(counted)
    })?;
    thread::sleep(QUIET);
    let after = (here.answered(), there.answered());
    eprintln!(
        "{name} ({source}): {looped:?} answers to 1 packet; with a guard {:?} to {sparks}, and \
         {reason} {counted}",
        (after.0 - looped.0, after.1 - looped.1)
    );
    ensure!(after == looped, "{looped:?} answers became {after:?}");
    Ok(())
}

/// ntpd before 4.2.4p8 answered every packet of mode 7 that it did not understand, errors too.
#[test]
fn mode_7_errors() -> Result<()> {
    // A response of mode 7 with error 4, "no data".
    let error = [0x97, 0, 0, 0, 0x40, 0, 0, 0];
    ends_with_a_guard("mode 7 errors", "CVE-2009-3563", &error, Reason::Private)
}

/// What a server says to a packet that it cannot make sense of must not be taken for a question.
#[test]
fn replies_to_replies() -> Result<()> {
    let mut reply = vec![0xe4, 16];
    reply.resize(ntp::HEADER_LEN, 0x55);
    ends_with_a_guard(
        "replies to replies",
        "CVE-2024-2169",
        &reply,
        Reason::Unsolicited,
    )
}
