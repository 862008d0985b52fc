//! The guard on a loopback interface, which takes nothing but a kernel and `ip`: also as the only process
//! of a virtual machine.

use std::{net::UdpSocket, path::PathBuf, process, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};
use ntpguard::{
    allowlist::projection::Projection,
    datapath::{self, AttachMode, Guard, Interface, Mode, Options},
};
use ntpguard_common::{
    maps::tables::{Grant, Origin, Role},
    wire::packet::Link,
};

use crate::{packets::ntp::Message, process::run_program};

/// The loopback interface of every new network namespace.
const LOOPBACK: u32 = 1;

const SOON: Duration = Duration::from_secs(5);

/// Runs something in a network namespace of its own, with a loopback interface that is up.
pub(crate) fn alone_in_a_namespace<T: Send + 'static>(
    inside: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let enter = move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        run_program("ip", &["link", "set", "lo", "up"])?;
        inside()
    };
    let thread = thread::spawn(enter);
    thread.join().map_err(|_panic| anyhow!("it panicked"))?
}

/// Guards it, with its own address granted what it takes to be asked and to answer.
pub(crate) fn guard(pins: &Pins, attach: AttachMode) -> Result<Guard> {
    let loopback = Interface {
        index: LOOPBACK,
        name: "lo".to_owned(),
        link: Link::Ethernet,
        mtu: 65_536,
        up: true,
    };
    let options = Options {
        attach,
        ..Options::new(&pins.0, vec![loopback])
    };
    let grant = Grant {
        roles: Role::Server.bit() | Role::Client.bit(),
        origins: Origin::Config.bit(),
        ..Grant::default()
    };
    let mut wanted = Projection::default();
    wanted.addresses.insert("127.0.0.1".parse()?, grant);
    Ok(Guard::start(&options, &wanted)?)
}

/// A request is served and its reply let in, and a stranger's reply is not.
pub(crate) fn works(guard: &Guard) -> Result<()> {
    let before = guard.tables.counters(Mode::Enforce)?;
    let [client, server, stranger] =
        ["127.0.0.1:40123", "127.0.0.1:123", "127.0.0.2:123"].map(|address| {
            UdpSocket::bind(address)
                .and_then(|socket| socket.set_read_timeout(Some(SOON)).map(|()| socket))
        });
    let (client, server, stranger) = (client?, server?, stranger?);
    let request = Message::request(u64::from(process::id()) + 1);
    let mut buffer = [0; 100];
    client.send_to(&request.to_vec(), server.local_addr()?)?;
    server.recv(&mut buffer).context("no request arrives")?;
    stranger.send_to(&Message::new(4, 4).to_vec(), client.local_addr()?)?;
    let reply = Message::reply_to(&request).to_vec();
    server.send_to(&reply, client.local_addr()?)?;
    let (len, from) = client.recv_from(&mut buffer).context("no reply arrives")?;
    ensure!(
        from == server.local_addr()? && buffer.get(..len) == Some(&reply[..]),
        "{from} got through"
    );
    let after = guard.tables.counters(Mode::Enforce)?;
    let grown = |now: u64, then: u64| now - then;
    let counts = [
        grown(after.client, before.client),
        grown(after.server, before.server),
        grown(after.unlisted, before.unlisted),
    ];
    ensure!(counts == [1, 1, 1], "client, server, unlisted: {counts:?}");
    Ok(())
}

/// A pin directory that is emptied at the end.
#[derive(Debug)]
pub(crate) struct Pins(pub(crate) PathBuf);

impl Pins {
    pub(crate) fn new() -> Self {
        Self(format!("/sys/fs/bpf/ngtest-lo-{}", process::id()).into())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = datapath::unload(&self.0) {
            eprintln!("left behind: {}: {error}", self.0.display());
        }
    }
}
