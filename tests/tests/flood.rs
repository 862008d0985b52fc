//! Millions of frames from forged addresses, sent by the kernel itself, while a client asks for the
//! time. Rates are told and not judged: they are the machine's.
//!
//! A suite of its own, since others cannot do much meanwhile.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use ntpguard_common::{maps::tables::names, reason::Reason, wire::ntp};
use ntpguard_tests::{
    bpftool,
    daemons::{Setup, chrony::Chronyd},
    guard::{Guard, Home},
    link::{Options, Port, Veth},
    namespace::Namespace,
    packets::{
        self,
        frame::{self, Ethernet},
        ntp::Message,
    },
    programs::{Program, Sources},
    wait::eventually,
};

const US: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 2);

/// Frames of a flood of strangers, and of one of clients, of whose requests the daemon answers a share;
/// and how many the kernel sends at a time.
const STRANGERS: u64 = 4 << 20;
const CLIENTS: u64 = 1 << 20;
const PORTION: u32 = 1 << 18;

/// Exchanges that a client has at least while the flood lasts.
const EXCHANGES: u64 = 20;
const ANSWERED: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(10);

/// Bytes that the daemon may have more of after a flood than before.
const GROWTH: u64 = 4 << 20;

/// Where UDP's checksum is in an IPv4 frame.
const UDP_CHECKSUM_AT: usize = 14 + 20 + 6;

/// A guarded chronyd, and a cable to it.
struct Scene {
    outside: Port,
    inside: Port,
    guard: Guard,
    _chronyd: Chronyd,
}

impl Scene {
    fn new(allow: &str, more: &[&str]) -> Result<Self> {
        let (outside, inside) = (Namespace::new("outside")?, Namespace::new("inside")?);
        // Frames that XDP sends arrive only where GRO is on or there is an XDP program.
        let options = Options {
            gro: true,
            mtu: None,
        };
        let cable = Veth::with(
            options,
            &outside,
            &[&format!("{CLIENT}/24")],
            &inside,
            &[&format!("{US}/24")],
        )?;
        // What is answered to forged addresses goes nowhere: the client's host does not route.
        inside.ip(&["route", "add", "default", "via", &CLIENT.to_string()])?;
        let setup = Setup::new(&format!("local stratum 8\nallow {allow}\n"), None)?;
        let guard = Guard::builder(&inside)
            .interface(&cable.right.interface)
            .source(&setup.config())
            .args(["--attach", "native"])
            .args(more)
            .ready()?;
        Ok(Self {
            outside: cable.left,
            inside: cable.right,
            guard,
            _chronyd: Chronyd::start_in(&inside, setup)?,
        })
    }

    fn home(&self) -> &Home {
        self.guard.home()
    }

    /// Sends the frames from these sources, and meanwhile asks for the time again and again. Gives
    /// what came of both.
    fn flood(&self, sources: Sources, mode: u8, frames: u64) -> Result<Flooded> {
        let (program, frame) = (
            Program::transmit(sources)?,
            self.frame(sources.first, mode)?,
        );
        let over = AtomicBool::new(false);
        let client = self.client()?;
        thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let took = self.outside.namespace.enter(|| {
                    let began = Instant::now();
                    for _ in 0..frames / u64::from(PORTION) {
                        self.send(&program, &frame)?;
                    }
                    Ok(began.elapsed())
                });
                over.store(true, Ordering::Relaxed);
                took
            });
            let exchanges = exchanges(&client, || over.load(Ordering::Relaxed));
            let took = flood.join().map_err(|_| anyhow!("the flood panicked"))??;
            Ok(Flooded {
                frames,
                took,
                exchanges: exchanges?,
            })
        })
    }

    /// Sends a portion, in as many attempts as it takes: whoever is stopped for a moment, as by a
    /// debugger or a freezer, has to begin again.
    fn send(&self, program: &Program, frame: &[u8]) -> Result<()> {
        loop {
            match program.send(self.outside.index, frame, PORTION) {
                Err(error) if is_interrupted(&error) => {}
                sent => return sent.map(drop),
            }
        }
    }

    /// A frame of a flood. Without a checksum over UDP (RFC 768), which spares the sender mending it.
    fn frame(&self, from: IpAddr, mode: u8) -> Result<Vec<u8>> {
        let from = SocketAddr::new(from, ntp::PORT);
        let to = SocketAddr::new(US.into(), ntp::PORT);
        let packet = frame::udp(from, to, &Message::new(4, mode).to_vec())?;
        let ethernet = Ethernet {
            from: self.outside.mac,
            to: self.inside.mac,
            tags: &[],
        };
        let mut frame = ethernet.wrap(&packet);
        frame[UDP_CHECKSUM_AT..UDP_CHECKSUM_AT + 2].fill(0);
        Ok(frame)
    }

    fn client(&self) -> Result<UdpSocket> {
        let socket = packets::udp(&self.outside.namespace, (CLIENT, 0).into())?;
        socket.set_read_timeout(Some(ANSWERED))?;
        socket.connect((US, ntp::PORT))?;
        Ok(socket)
    }

    /// Waits until a packet is counted for each frame that arrived, and gives how many were counted
    /// for each of these reasons.
    fn counted(&self, reasons: [Reason; 3]) -> Result<[u64; 3]> {
        let sum = || -> Result<[u64; 3]> {
            let counts = self.guard.counters()?;
            Ok(reasons.map(|reason| counts.enforced(reason)))
        };
        eventually(SOON, "the last frame's being counted", || {
            let before = sum()?;
            thread::sleep(Duration::from_millis(100));
            let after = sum()?;
            ensure!(before == after, "{after:?}");
            Ok(after)
        })
    }
}

fn is_interrupted(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::Interrupted)
}

/// One flood at a time.
static FLOODING: Mutex<()> = Mutex::new(());

/// What a flood was, and what a client saw of it.
struct Flooded {
    frames: u64,
    took: Duration,
    exchanges: Exchanges,
}

impl Flooded {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn tell(&self, what: &str) {
        eprintln!(
            "{what}: {} frames in {:?}, {:.2} million a second; {} of {} exchanges answered",
            self.frames,
            self.took,
            self.frames as f64 / self.took.as_secs_f64() / 1e6,
            self.exchanges.answered,
            self.exchanges.asked
        );
    }
}

/// Requests of a client, and the replies to them.
struct Exchanges {
    asked: u64,
    answered: u64,
}

/// Asks until it is over, and at least so often.
fn exchanges(client: &UdpSocket, is_over: impl Fn() -> bool) -> Result<Exchanges> {
    let mut exchanges = Exchanges {
        asked: 0,
        answered: 0,
    };
    while exchanges.asked < EXCHANGES || !is_over() {
        exchanges.asked += 1;
        client.send(&Message::request(exchanges.asked).to_vec())?;
        let mut reply = [0; 100];
        match client.recv(&mut reply) {
            Ok(_) => {
                let origin = &reply[ntp::ORIGIN..ntp::ORIGIN + 8];
                ensure!(
                    origin == exchanges.asked.to_be_bytes(),
                    "a reply to another request: {reply:?}"
                );
                exchanges.answered += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("no replies can be had"),
        }
        // Well below the rate of a client.
        thread::sleep(Duration::from_millis(50));
    }
    Ok(exchanges)
}

/// The memory of each of the guard's maps, and the entries of those that grow, by their names.
fn tables(home: &Home) -> Result<BTreeMap<&'static str, (u64, Option<usize>)>> {
    let directory = home.pin_dir().join("maps");
    let mut tables = BTreeMap::new();
    for name in names::ALL {
        let path = directory.join(name);
        let shown = bpftool::map_show(&path)?;
        let memory = shown["bytes_memlock"]
            .as_u64()
            .with_context(|| format!("no memory in {shown}"))?;
        let kind = shown["type"].as_str().unwrap_or_default();
        tables.insert(*name, (memory, entries(&path, kind)?));
    }
    Ok(tables)
}

/// How many entries a map of this kind has, unless it has always the same.
fn entries(path: &Path, kind: &str) -> Result<Option<usize>> {
    match kind {
        "hash" | "lru_hash" | "lru_percpu_hash" | "lpm_trie" => {
            Ok(Some(bpftool::map_dump(path)?.len()))
        }
        "array" | "percpu_array" | "ringbuf" => Ok(None),
        other => bail!("{}: a map of kind {other}", path.display()),
    }
}

/// 16 million addresses that nobody granted anything.
#[test]
fn forged_replies_of_strangers_cost_a_client_nothing() -> Result<()> {
    const FORGED: Sources = Sources {
        first: IpAddr::V4(Ipv4Addr::new(100, 0, 0, 0)),
        count: 1 << 24,
    };
    let _one_at_a_time = FLOODING.lock().unwrap_or_else(PoisonError::into_inner);
    let scene = Scene::new(&CLIENT.to_string(), &[])?;
    let (memory, _) = scene.guard.resident()?;
    let before = tables(scene.home())?;
    for (what, mode) in [("forged replies", 4), ("forged requests", 3)] {
        let reasons = [Reason::Unlisted, Reason::Client, Reason::Rate];
        let counted = scene.counted(reasons)?;
        let flooded = scene.flood(FORGED, mode, STRANGERS)?;
        flooded.tell(what);
        let [dropped, served, limited] = scene.counted(reasons)?;
        let dropped = dropped - counted[0];
        let Exchanges { asked, answered } = flooded.exchanges;
        eprintln!("{what}: unlisted {dropped}, the rest found the interface's ring full");
        ensure!(
            dropped > STRANGERS / 2,
            "only {dropped} of {STRANGERS} reached the guard"
        );
        let served = served - counted[1];
        ensure!(
            answered == served && limited == 0,
            "{answered} of the {served} that were served were answered, {limited} limited"
        );
        // The flood fills the ring before the guard, and what finds it full reaches no filter at all.
        ensure!(
            asked - served <= STRANGERS - dropped && served > asked / 2,
            "{served} of {asked} were served, and {dropped} of {STRANGERS} dropped"
        );
    }
    let after = tables(scene.home())?;
    ensure!(before == after, "{before:?} became {after:?}");
    let (now, _) = scene.guard.resident()?;
    ensure!(now < memory + GROWTH, "{memory} bytes became {now}");
    Ok(())
}

/// 65,536 addresses of a granted network: the limit of all clients holds, no table grows, and a
/// client is slowed down and not shut out.
#[test]
fn forged_requests_of_clients_evict_nobody() -> Result<()> {
    const FORGED: Sources = Sources {
        first: IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)),
        count: 1 << 16,
    };
    const ALL: u64 = 1_000;
    let _one_at_a_time = FLOODING.lock().unwrap_or_else(PoisonError::into_inner);
    let allow = format!("100.64.0.0/10\nallow {CLIENT}");
    let total = ALL.to_string();
    let scene = Scene::new(&allow, &["--client-rate", "2", "--total-rate", &total])?;
    let (memory, _) = scene.guard.resident()?;
    let before = tables(scene.home())?;
    let flooded = scene.flood(FORGED, 3, CLIENTS)?;
    flooded.tell("forged requests of clients");
    let reasons = [Reason::Client, Reason::Rate, Reason::Unlisted];
    let [served, limited, unlisted] = scene.counted(reasons)?;
    let Exchanges { asked, answered } = flooded.exchanges;
    eprintln!("forged requests of clients: client {served}, rate {limited}");
    ensure!(unlisted == 0, "{unlisted} were of strangers");
    let all = served + limited;
    // A second's worth at once; and the client may ask for longer than the flood lasts.
    let most = ALL * (flooded.took.as_secs() + 2) + asked;
    ensure!(
        all > CLIENTS / 2 && (ALL..most).contains(&served),
        "{served} of {all} were served, at most {most}"
    );
    ensure!(answered > 0, "none of {asked} was answered");
    let after = tables(scene.home())?;
    ensure!(before == after, "{before:?} became {after:?}");
    let (now, _) = scene.guard.resident()?;
    ensure!(now < memory + GROWTH, "{memory} bytes became {now}");
    Ok(())
}
