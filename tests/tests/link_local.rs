//! Servers at link-local addresses: the same address on two guarded links is two hosts.

use std::{
    net::{Ipv6Addr, SocketAddrV6, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use ntpguard_common::{reason::Reason, wire::ntp};
use ntpguard_tests::{
    config::ConfigFile,
    daemons::responder::{Manner, Responder},
    guard::{Counts, Guard},
    link::{Port, Veth},
    namespace::Namespace,
    packets::ntp::Message,
    wait::eventually,
};
use serde_json::Value;

/// How long a packet may be on its way, and a guard may take to see a change.
const SOON: Duration = Duration::from_secs(10);

const SERVER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ADDRESSES: [&str; 2] = ["fe80::2/64", "fe80::1/64"];

/// A host on two links, `one` and `two`, on each of which a server has the same address.
struct Links {
    host: Namespace,
    far: [Namespace; 2],
    servers: Vec<Responder>,
}

/// The names of the host's interfaces.
const NAMES: [&str; 2] = ["one", "two"];

impl Links {
    fn new() -> Result<Self> {
        let mut links = Self {
            host: Namespace::new("host")?,
            far: [Namespace::new("left")?, Namespace::new("right")?],
            servers: Vec::new(),
        };
        for number in 0..NAMES.len() {
            links.lay(number)?;
        }
        Ok(links)
    }

    /// Lays a cable, and has a server answer at its far end.
    fn lay(&mut self, number: usize) -> Result<()> {
        let far = &self.far[number];
        let cable = Veth::between(&self.host, &[], far, &[ADDRESSES[1]])?;
        rename(&cable.left, NAMES[number])?;
        self.serve(number, cable.right.index)
    }

    fn serve(&mut self, number: usize, index: u32) -> Result<()> {
        let at = SocketAddrV6::new(SERVER, ntp::PORT, 0, index);
        let server = Responder::start_at(&self.far[number], at.into(), Manner::default())?;
        self.servers.push(server);
        Ok(())
    }

    /// A guard of both interfaces that trusts no sender.
    fn guard(&self, config: &ConfigFile) -> Result<Guard> {
        Guard::builder(&self.host)
            .interface(NAMES[0])
            .interface(NAMES[1])
            .source(config.path())
            .args(["--learn", "off"])
            .ready()
    }

    /// Asks the server on an interface, and says for what its answer was counted.
    fn ask(&self, guard: &Guard, interface: &str) -> Result<Reason> {
        let index = Port::find(&self.host, interface)?.index;
        let socket = self
            .host
            .enter(|| UdpSocket::bind("[::]:0").context("no socket to ask a server from"))?;
        let before = Counts::in_kernel(guard.home())?;
        let server = SocketAddrV6::new(SERVER, ntp::PORT, 0, index);
        socket.send_to(&Message::request(7).to_vec(), server)?;
        let reason = eventually(SOON, "the answer's being counted", || {
            let after = Counts::in_kernel(guard.home())?;
            let is_more = |reason: &&Reason| after.enforced(**reason) > before.enforced(**reason);
            Reason::ALL.iter().find(is_more).copied().context("none")
        })?;
        let wait = if reason.admits() {
            SOON
        } else {
            Duration::from_millis(300)
        };
        socket.set_read_timeout(Some(wait))?;
        let arrived = socket.recv(&mut [0; 2048]).is_ok();
        ensure!(
            arrived == reason.admits(),
            "{reason}, and arrived: {arrived}"
        );
        Ok(reason)
    }

    /// Makes sure for what the answers on both interfaces are counted.
    fn hears(&self, guard: &Guard, expected: [Reason; 2]) -> Result<()> {
        let found = [self.ask(guard, NAMES[0])?, self.ask(guard, NAMES[1])?];
        ensure!(found == expected, "{found:?}, not {expected:?}");
        Ok(())
    }
}

/// Gives an interface another name, and its address again, which it loses with its link.
fn rename(port: &Port, name: &str) -> Result<()> {
    let host = &port.namespace;
    host.ip(&["link", "set", &port.interface, "down"])?;
    host.ip(&["link", "set", &port.interface, "name", name])?;
    host.ip(&["link", "set", name, "up"])?;
    let renamed = Port {
        interface: name.to_owned(),
        ..port.clone()
    };
    renamed.add_address(ADDRESSES[0])
}

fn edit(guard: &Guard, arguments: &[&str]) -> Result<()> {
    let output = guard.cli(&[&["allowlist"], arguments].concat())?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// The row of a prefix in the allowlist.
fn row(guard: &Guard, prefix: &str) -> Result<Value> {
    let listing = guard.json(&["allowlist", "list", "--json"])?;
    let rows = listing["rows"].as_array().context("no rows")?;
    let found = rows.iter().find(|row| row["prefix"] == *prefix);
    found
        .cloned()
        .with_context(|| format!("no {prefix} in {listing}"))
}

use Reason::{Role, Server, Unlisted};

#[test]
fn a_server_of_a_configuration_is_heard_on_its_interface_alone() -> Result<()> {
    let links = Links::new()?;
    let config = ConfigFile::ntp("server fe80::1%one\n")?;
    let guard = links.guard(&config)?;
    links.hears(&guard, [Server, Unlisted])?;
    let sources = guard.json(&["sources", "--json"])?;
    ensure!(
        sources["named"][0]["addresses"][0] == "fe80::1%one",
        "{sources}"
    );
    let row = row(&guard, "fe80::1%one/128")?;
    ensure!(row["waits_for_interface"].is_null(), "{row}");

    config.write("server fe80::1%two\n")?;
    edit(&guard, &["update"])?;
    links.hears(&guard, [Unlisted, Server])?;
    config.write("server fe80::1\n")?;
    edit(&guard, &["update"])?;
    links.hears(&guard, [Server, Server])
}

#[test]
fn what_is_granted_and_denied_by_hand_holds_on_its_interface_alone() -> Result<()> {
    let links = Links::new()?;
    let config = ConfigFile::ntp("")?;
    let guard = links.guard(&config)?;
    edit(&guard, &["add", "fe80::1%two"])?;
    links.hears(&guard, [Unlisted, Server])?;
    edit(&guard, &["add", "fe80::1"])?;
    links.hears(&guard, [Server, Server])?;
    edit(&guard, &["add", "fe80::1%one", "--role", "none"])?;
    links.hears(&guard, [Role, Server])?;
    edit(&guard, &["remove", "fe80::1%one"])?;
    edit(&guard, &["add", "fe80::1", "--role", "none"])?;
    links.hears(&guard, [Role, Role])?;
    edit(&guard, &["remove", "fe80::1"])?;
    links.hears(&guard, [Unlisted, Server])?;
    for wrong in [
        "2001:db8::1%one",
        "fe80::%one/64",
        "fe80:0:0:7::1",
        "fe80::1%",
    ] {
        let output = guard.cli(&["allowlist", "add", wrong])?;
        ensure!(!output.status.success(), "{wrong}: {output:?}");
    }
    Ok(())
}

#[test]
fn a_grant_follows_the_name_of_its_interface() -> Result<()> {
    let mut links = Links::new()?;
    let config = ConfigFile::ntp("server fe80::1%two\n")?;
    let guard = links.guard(&config)?;
    edit(&guard, &["add", "fe80::1%later"])?;
    let waiting = row(&guard, "fe80::1%later/128")?;
    ensure!(waiting["waits_for_interface"] == true, "{waiting}");
    let text = String::from_utf8(guard.cli(&["allowlist", "list"])?.stdout)?;
    ensure!(text.contains("waits for interface later"), "{text}");
    links.hears(&guard, [Unlisted, Server])?;

    // The guard of an interface stays with it under another name.
    rename(&Port::find(&links.host, "one")?, "later")?;
    eventually(SOON, "the grant of `later`", || {
        ensure!(links.ask(&guard, "later")? == Server, "not yet");
        Ok(())
    })?;
    edit(&guard, &["remove", "fe80::1%later"])?;
    ensure!(links.ask(&guard, "later")? == Unlisted, "still granted");

    // The same name, and another index.
    let before = Port::find(&links.host, "two")?.index;
    links.host.ip(&["link", "delete", "two"])?;
    eventually(SOON, "the grant's waiting", || {
        let row = row(&guard, "fe80::1%two/128")?;
        ensure!(row["waits_for_interface"] == true, "{row}");
        Ok(())
    })?;
    links.lay(1)?;
    ensure!(
        Port::find(&links.host, "two")?.index != before,
        "the same index"
    );
    eventually(SOON, "the grant on the new interface", || {
        match links.ask(&guard, "two") {
            Ok(Server) => Ok(()),
            other => bail!("{other:?}"),
        }
    })
}

#[test]
fn a_bridge_over_a_guarded_interface_is_granted_at_that_interface() -> Result<()> {
    let links = Links::new()?;
    let host = &links.host;
    host.ip(&["link", "add", "br0", "type", "bridge"])?;
    host.ip(&["link", "set", "one", "master", "br0"])?;
    host.ip(&["link", "set", "br0", "up"])?;
    Port::find(host, "br0")?.add_address(ADDRESSES[0])?;
    let config = ConfigFile::ntp("server fe80::1%br0\n")?;
    let guard = links.guard(&config)?;
    ensure!(links.ask(&guard, "br0")? == Server, "the bridge's");
    ensure!(links.ask(&guard, "two")? == Unlisted, "another's");
    edit(&guard, &["add", "fe80::1%br0", "--role", "none"])?;
    ensure!(links.ask(&guard, "br0")? == Role, "denied");
    Ok(())
}
