//! One packet at a time from the port, with both sides in the test's hands.

use std::{
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    config::ConfigFile,
    guard::{Counts, Guard, Home, cli},
    packets::{self, ntp::Message},
    switch::{Host, Switch},
    wait::eventually,
};

use super::{PORT, wait_granted};

/// How long a packet may be on its way.
const ARRIVAL: Duration = Duration::from_secs(5);

/// What a test sends to see that what it sent before is judged by now.
const MARKER: &[u8] = b"marker";

/// A guarded host that asks, and one with two addresses that answers.
struct Exchange {
    _switch: Switch,
    client: Host,
    server: Host,
    other: IpAddr,
    config: ConfigFile,
    socket: UdpSocket,
    home: Arc<Home>,
    guard: Guard,
}

impl Exchange {
    fn new(ipv6: bool) -> Result<Self> {
        let switch = Switch::new()?;
        let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
        let more = server.add_addresses(&switch, 100)?;
        let pick = |addresses: [IpAddr; 2]| addresses[usize::from(ipv6)];
        let config = ConfigFile::chrony(&line(pick(server.addresses())))?;
        let home = Home::new()?;
        let guard = started(&client, &config, &home)?;
        let socket = packets::udp(&client.namespace, (pick(client.addresses()), 0).into())?;
        socket.set_read_timeout(Some(ARRIVAL))?;
        Ok(Self {
            other: pick(more),
            _switch: switch,
            client,
            server,
            config,
            socket,
            home,
            guard,
        })
    }

    /// The server at its port.
    fn at_port(&self) -> Result<SocketAddr> {
        let [v4, v6] = self.server.addresses();
        let is_v4 = self.socket.local_addr()?.is_ipv4();
        Ok((if is_v4 { v4 } else { v6 }, PORT).into())
    }

    fn ask(&self, transmit: u64) -> Result<Message> {
        let request = Message::request(transmit);
        self.socket.send_to(&request.to_vec(), self.at_port()?)?;
        Ok(request)
    }

    fn send(&self, from: SocketAddr, payload: &[u8]) -> Result<()> {
        let to = self.socket.local_addr()?;
        packets::send(&self.server.namespace, from, to, payload)
    }

    /// What comes from the server at its port must be counted for `reason` and no other, and
    /// dropped; or for [`Reason::Server`], and arrive.
    fn judges(&self, what: &str, payload: &[u8], reason: Reason) -> Result<()> {
        let before = self.counts()?;
        self.send(self.at_port()?, payload)?;
        if reason.admits() {
            self.arrives(what, self.at_port()?, payload)?;
        } else {
            self.overtaken(what)?;
        }
        let mut expected = before;
        *expected
            .enforced
            .entry(reason.name().to_owned())
            .or_insert(0) += 1;
        let after = self.counts()?;
        ensure!(after == expected, "{what}: {after:?}, not {expected:?}");
        Ok(())
    }

    /// What comes from there must arrive, and be counted for nothing.
    fn passes(&self, what: &str, from: SocketAddr, payload: &[u8]) -> Result<()> {
        let before = self.counts()?;
        self.send(from, payload)?;
        self.arrives(what, from, payload)?;
        let after = self.counts()?;
        ensure!(after == before, "{what} was counted: {after:?}, {before:?}");
        Ok(())
    }

    /// A datagram sent later arrives first: what was sent before it did not.
    fn overtaken(&self, what: &str) -> Result<()> {
        let marker = SocketAddr::new(self.at_port()?.ip(), PORT + 1);
        self.send(marker, MARKER)?;
        self.arrives(what, marker, MARKER)
    }

    /// The next datagram that arrives must be this.
    fn arrives(&self, what: &str, from: SocketAddr, payload: &[u8]) -> Result<()> {
        let mut bytes = [0; 2048];
        let (length, source) = self.socket.recv_from(&mut bytes)?;
        ensure!(
            source == from && bytes[..length] == *payload,
            "{what}: {length} bytes of {source} arrived"
        );
        Ok(())
    }

    /// From the kernel, so that a guard without a daemon tells too.
    fn counts(&self) -> Result<Counts> {
        Counts::in_kernel(&self.home)
    }
}

fn line(server: IpAddr) -> String {
    format!("server {server} port {PORT}\n")
}

fn started(client: &Host, config: &ConfigFile, home: &Arc<Home>) -> Result<Guard> {
    Guard::builder(&client.namespace)
        .interface(&client.port.interface)
        .source(config.path())
        .home(home)
        .ready()
}

#[test]
fn a_reply_must_answer_a_request_to_that_port() -> Result<()> {
    for ipv6 in [false, true] {
        let exchange = Exchange::new(ipv6)?;
        let forged = Message::reply_to(&Message::request(7)).to_vec();
        exchange.judges("a forged reply", &forged, Reason::Unsolicited)?;
        let reply = Message::reply_to(&exchange.ask(0x0102_0304_0506_0708)?);
        exchange.judges("another origin", &forged, Reason::Origin)?;
        let mut longer = reply.clone();
        longer.rest = vec![0; 4];
        exchange.judges("a longer reply", &longer.to_vec(), Reason::Oversize)?;
        exchange.judges("the reply", &reply.to_vec(), Reason::Server)?;
        exchange.judges("a copy", &reply.to_vec(), Reason::Origin)?;
        exchange.judges("a request", &Message::request(1).to_vec(), Reason::Role)?;
        exchange.judges("something else", &[0xc3; 1_000], Reason::Version)?;
    }
    Ok(())
}

#[test]
fn the_port_is_open_to_everybody_else() -> Result<()> {
    for ipv6 in [false, true] {
        let exchange = Exchange::new(ipv6)?;
        let forged = Message::reply_to(&Message::request(7)).to_vec();
        let stranger = SocketAddr::new(exchange.other, PORT);
        exchange.passes("a stranger's reply", stranger, &forged)?;
        exchange.passes("a stranger's QUIC", stranger, &[0xc3; 1_000])?;
        let beside = SocketAddr::new(exchange.at_port()?.ip(), PORT + 64);
        exchange.passes("the server's other port", beside, &forged)?;
        exchange.judges("the server's own", &forged, Reason::Unsolicited)?;
    }
    Ok(())
}

#[test]
fn what_is_cut_off_by_hand_is_so_at_every_port() -> Result<()> {
    let exchange = Exchange::new(false)?;
    let server = exchange.at_port()?.ip().to_string();
    let edit = |arguments: &[&str]| exchange.guard.json(arguments).map(drop);
    edit(&["allowlist", "add", &server, "--role", "none", "--json"])?;
    let reply = Message::reply_to(&exchange.ask(1)?).to_vec();
    exchange.judges("a reply while it is banned", &reply, Reason::Role)?;
    edit(&["allowlist", "remove", &server, "--json"])?;
    let reply = Message::reply_to(&exchange.ask(2)?).to_vec();
    exchange.judges("a reply after that", &reply, Reason::Server)?;
    let refused = exchange.guard.cli(&["allowlist", "remove", &server])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success(), "it was granted by a file");
    ensure!(said.contains("--role none"), "{said}");
    Ok(())
}

#[test]
fn the_last_server_to_go_leaves_the_port_to_all() -> Result<()> {
    let exchange = Exchange::new(false)?;
    let server = exchange.at_port()?;
    let forged = Message::reply_to(&Message::request(7)).to_vec();
    exchange.judges("its reply", &forged, Reason::Unsolicited)?;
    fs::write(exchange.config.path(), "")?;
    wait_granted(&exchange.guard, server, None)?;
    exchange.passes("its reply when it is nobody's server", server, &forged)?;
    fs::write(exchange.config.path(), line(server.ip()))?;
    wait_granted(&exchange.guard, server, Some(&["config"]))?;
    exchange.judges(
        "its reply when it is one again",
        &forged,
        Reason::Unsolicited,
    )?;
    let reply = Message::reply_to(&exchange.ask(3)?).to_vec();
    exchange.judges("an answer", &reply, Reason::Server)
}

#[test]
fn it_is_judged_without_a_daemon_and_by_the_next_one() -> Result<()> {
    let mut exchange = Exchange::new(false)?;
    let forged = Message::reply_to(&Message::request(7)).to_vec();
    exchange.guard.kill9()?;
    exchange.judges("its reply without a daemon", &forged, Reason::Unsolicited)?;
    let server = exchange.at_port()?;
    let address = server.ip().to_string();
    let client = exchange.client.namespace.clone();
    let edit = |arguments: &[&str]| {
        let output = cli(&client, &exchange.home, arguments)?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    };
    edit(&["allowlist", "add", &address, "--role", "none"])?;
    exchange.judges("its reply while it is banned", &forged, Reason::Role)?;
    edit(&["allowlist", "remove", &address])?;
    exchange.judges("its reply after that", &forged, Reason::Unsolicited)?;
    exchange.guard = started(&exchange.client, &exchange.config, &exchange.home)?;
    wait_granted(&exchange.guard, server, Some(&["config"]))?;
    exchange.judges("its reply to the next one", &forged, Reason::Unsolicited)?;
    let reply = Message::reply_to(&exchange.ask(4)?).to_vec();
    exchange.judges("an answer", &reply, Reason::Server)
}

#[test]
fn people_see_the_port() -> Result<()> {
    let exchange = Exchange::new(false)?;
    let shown = format!("{} port {PORT}", exchange.at_port()?.ip());
    for arguments in [&["allowlist", "list"][..], &["sources"]] {
        let output = exchange.guard.cli(arguments)?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(printed.contains(&shown), "{arguments:?}: {printed}");
    }
    let unmentioned = eventually(ARRIVAL, "no trouble", || {
        let status = exchange.guard.json(&["status", "--json"])?;
        ensure!(status["trouble"].is_null(), "{status}");
        Ok(status["problems"].clone())
    })?;
    ensure!(
        unmentioned.as_array().is_some_and(Vec::is_empty),
        "{unmentioned}"
    );
    Ok(())
}
