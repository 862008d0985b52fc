//! One reply a request, also where two arrive at the same instant.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use ntpguard_common::{reason::Reason, wire::ntp};
use ntpguard_tests::{
    config::ConfigFile,
    guard::{Builder, Guard},
    link::Veth,
    namespace::Namespace,
    packets::{
        self,
        frame::{self, Ethernet},
        ntp::Message,
        raw::RawSocket,
    },
    switch::Switch,
};

const SOON: Duration = Duration::from_secs(5);
const ROUNDS: u64 = 1000;

/// A server, and its clients two addresses: a cable each.
const SERVER: &str = "10.0.1.1";
const CLIENT: &str = "10.0.1.2";

#[test]
fn of_two_replies_on_two_cpus_exactly_one_passes_a_thousand_times() -> Result<()> {
    let (server, client) = (Namespace::new("server")?, Namespace::new("client")?);
    let cables = [
        Veth::between(&server, &["10.0.1.1/24"], &client, &["10.0.1.2/24"])?,
        Veth::between(&server, &["10.0.2.1/24"], &client, &["10.0.2.2/24"])?,
    ];
    let config = ConfigFile::ntp(&format!("server {SERVER}\n"))?;
    let guard = Guard::builder(&client)
        .interface(&cables[0].right.interface)
        .interface(&cables[1].right.interface)
        .source(config.path())
        .ready()?;
    let asking = packets::udp(&client, format!("{CLIENT}:40123").parse()?)?;
    let asked = packets::udp(&server, format!("{SERVER}:{}", ntp::PORT).parse()?)?;
    asking.connect((SERVER, ntp::PORT))?;
    for socket in [&asking, &asked] {
        socket.set_read_timeout(Some(SOON))?;
    }

    let frames = cables.each_ref().map(|cable| {
        let (from, to) = ((SERVER, ntp::PORT), (CLIENT, 40_123));
        let packet = frame::udp(
            format!("{}:{}", from.0, from.1).parse()?,
            format!("{}:{}", to.0, to.1).parse()?,
            &Message::new(4, 4).to_vec(),
        )?;
        let link = Ethernet {
            from: cable.left.mac,
            to: cable.right.mac,
            tags: &[],
        };
        Ok::<_, anyhow::Error>(link.wrap(&packet))
    });
    let turn = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let result = thread::scope(|scope| {
        let mut senders = Vec::new();
        for (cpu, (cable, frame)) in cables.iter().zip(frames).enumerate() {
            let wire = RawSocket::open(&cable.left)?;
            let (frame, turn, done) = (frame?, &turn, &done);
            senders.push(scope.spawn(move || send_each_turn(cpu, &wire, frame, turn, done)));
        }
        let rounds = rounds(&asking, &asked, &turn, &done);
        // Also where a round failed, so that the senders end.
        turn.store(u64::MAX, Ordering::Release);
        for sender in senders {
            sender
                .join()
                .map_err(|_panic| anyhow::anyhow!("a sender panicked"))??;
        }
        rounds
    });
    result?;

    // Whatever there was more than one a round is there by now, or was counted.
    asking.set_read_timeout(Some(Duration::from_millis(200)))?;
    let more = asking.recv(&mut [0; 100]);
    ensure!(more.is_err(), "more replies than requests");
    let counts = guard.counters()?;
    ensure!(
        counts.enforced(Reason::Server) == ROUNDS && counts.enforced(Reason::Origin) == ROUNDS,
        "{counts:?}"
    );
    Ok(())
}

/// Asks a thousand times, and lets both senders answer each time.
fn rounds(
    asking: &std::net::UdpSocket,
    asked: &std::net::UdpSocket,
    turn: &AtomicU64,
    done: &AtomicU64,
) -> Result<()> {
    let mut buffer = [0; 100];
    for round in 1..=ROUNDS {
        asking.send(&Message::request(round).to_vec())?;
        asked
            .recv(&mut buffer)
            .context("the request did not arrive")?;
        turn.store(round, Ordering::Release);
        let len = asking.recv(&mut buffer).context("neither reply arrived")?;
        ensure!(
            buffer.get(24..32) == Some(&round.to_be_bytes()),
            "of a round before, a second reply passed: {len} bytes"
        );
        // Both have sent before the next round.
        while done.load(Ordering::Acquire) < 2 * round {
            thread::yield_now();
        }
    }
    Ok(())
}

/// Sends the reply whenever it is its turn, from a CPU of its own.
fn send_each_turn(
    cpu: usize,
    wire: &RawSocket,
    mut frame: Vec<u8>,
    turn: &AtomicU64,
    done: &AtomicU64,
) -> Result<()> {
    let mut own = CpuSet::new();
    own.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &own).context("two CPUs are needed")?;
    let origin = frame.len() - ntp::HEADER_LEN + 24;
    let checksum = frame.len() - ntp::HEADER_LEN - 2;
    // UDP over IPv4 may go without.
    frame[checksum..][..2].fill(0);
    for round in 1..=ROUNDS {
        loop {
            match turn.load(Ordering::Acquire) {
                u64::MAX => return Ok(()),
                now if now >= round => break,
                _ => std::hint::spin_loop(),
            }
        }
        frame[origin..][..8].copy_from_slice(&round.to_be_bytes());
        wire.send(&frame)?;
        done.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

/// A request that leaves by one interface, and a reply that comes by another.
#[test]
fn a_reply_may_come_by_another_guarded_interface() -> Result<()> {
    let (server, client) = (Namespace::new("server")?, Namespace::new("client")?);
    let out = Veth::between(&server, &["10.0.1.1/24"], &client, &["10.0.1.2/24"])?;
    let back = Veth::between(&server, &["10.0.2.1/24"], &client, &["10.0.2.2/24"])?;
    let config = ConfigFile::ntp(&format!("server {SERVER}\n"))?;
    let guard = Guard::builder(&client)
        .interface(&out.right.interface)
        .interface(&back.right.interface)
        .source(config.path())
        .ready()?;
    let asking = packets::udp(&client, format!("{CLIENT}:40123").parse()?)?;
    asking.set_read_timeout(Some(SOON))?;
    asking.send_to(&Message::request(7).to_vec(), (SERVER, ntp::PORT))?;
    let reply = Message::reply_to(&Message::request(7)).to_vec();
    let packet = frame::udp(
        format!("{SERVER}:123").parse()?,
        format!("{CLIENT}:40123").parse()?,
        &reply,
    )?;
    let link = Ethernet {
        from: back.left.mac,
        to: back.right.mac,
        tags: &[],
    };
    RawSocket::open(&back.left)?.send(&link.wrap(&packet))?;
    asking
        .recv(&mut [0; 100])
        .context("the reply did not arrive")?;
    let counts = guard.counters()?;
    ensure!(counts.enforced(Reason::Server) == 1, "{counts:?}");
    Ok(())
}

#[test]
fn two_interfaces_of_one_stack_are_refused_together() -> Result<()> {
    let switch = Switch::new()?;
    let host = switch.host("host", 1)?;
    let (ns, port) = (&host.namespace, host.port.interface.as_str());
    // Not every kernel has bonds and VLANs, which are told in the same way.
    ns.ip(&["link", "add", "bridge", "type", "bridge"])?;
    ns.ip(&["link", "set", port, "master", "bridge"])?;
    ns.ip(&["link", "set", "bridge", "up"])?;
    let config = ConfigFile::ntp(&format!("server {SERVER}\n"))?;
    let guard = |interfaces: [&str; 2]| {
        let builder = Guard::builder(ns).source(config.path());
        interfaces.into_iter().fold(builder, Builder::interface)
    };
    for pair in [[port, "bridge"], ["bridge", port]] {
        let mut refused = guard(pair).start()?;
        let ended = refused.wait_end()?;
        let said = refused.stderr();
        ensure!(!ended.success(), "{pair:?} were taken: {said}");
        ensure!(
            pair.iter().all(|interface| said.contains(interface)),
            "{pair:?} are not both named: {said}"
        );
    }
    // Beside one of another stack, it will do.
    let other = switch.connect(ns, 2)?;
    guard([port, &other.port.interface]).ready().map(drop)
}
