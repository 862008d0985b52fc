//! chronyd: basic, interleaved, with keys, with Network Time Security.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use ntpguard_tests::daemons::{
    Setup,
    chrony::{Chronyd, Exchanges},
    keys::KeyFile,
    nts::Certificate,
};

use super::{Network, Sender};

/// 64 requests a second.
const FAST: &str = "iburst minpoll -6 maxpoll -6";

/// The server's name in its certificate.
const NAME: &str = "nts.test";

fn run(
    network: &Network,
    sender: Sender,
    config: &str,
    check: impl Fn(Exchanges) -> bool,
) -> Result<()> {
    let setup = Setup::new(config, Some(network.dns.address()))?;
    let start = |setup| Chronyd::start_in(&network.client.namespace, setup);
    network.loses_no_reply(sender, setup, start, |chronyd| {
        for source in chronyd.sources()? {
            let address: IpAddr = source.address.parse()?;
            let exchanges = chronyd.exchanges(address)?;
            // One request may be under way, and two replies that chronyd throws away itself: it
            // drops those that come while it changes to interleaved mode.
            ensure!(exchanges.received + 1 >= exchanges.sent, "{exchanges:?}");
            ensure!(exchanges.valid + 2 >= exchanges.received, "{exchanges:?}");
            ensure!(check(exchanges), "{address}: {exchanges:?}");
        }
        Ok(())
    })
}

fn basic(sender: Sender) -> Result<()> {
    let network = Network::new(1, "")?;
    let config = network.lines(|server| format!("server {server} {FAST}\n"));
    run(&network, sender, &config, |exchanges| {
        !exchanges.interleaved && !exchanges.authenticated
    })
}

fn interleaved(sender: Sender) -> Result<()> {
    let network = Network::new(1, "")?;
    let config = network.lines(|server| format!("server {server} {FAST} xleave\n"));
    run(&network, sender, &config, |exchanges| exchanges.interleaved)
}

fn with_keys(sender: Sender) -> Result<()> {
    let keys = KeyFile::chrony()?;
    let file = format!("keyfile {}\n", keys.path().display());
    let network = Network::new(2, &file)?;
    let servers = KeyFile::NUMBERS.iter().zip(&network.addresses);
    let servers = servers.map(|(key, server)| format!("server {server} key {key} {FAST}\n"));
    let config = file.clone() + &servers.collect::<String>();
    run(&network, sender, &config, |exchanges| {
        exchanges.authenticated
    })
}

fn with_nts(sender: Sender) -> Result<()> {
    let certificate = Certificate::new(NAME)?;
    let network = Network::new(1, &certificate.chrony_server())?;
    network.dns.set_fixed(NAME, &network.addresses[..1]);
    let config = format!("{}server {NAME} nts {FAST}\n", certificate.chrony_client());
    run(&network, sender, &config, |exchanges| {
        exchanges.authenticated
    })
}

#[test]
fn chronyd_loses_no_reply_of_granted_servers() -> Result<()> {
    basic(Sender::Listed)
}

#[test]
fn chronyd_as_a_trusted_sender_loses_no_reply() -> Result<()> {
    basic(Sender::Trusted)
}

#[test]
fn chronyd_loses_no_reply_in_interleaved_mode() -> Result<()> {
    interleaved(Sender::Listed)
}

#[test]
fn chronyd_as_a_trusted_sender_loses_no_reply_in_interleaved_mode() -> Result<()> {
    interleaved(Sender::Trusted)
}

#[test]
fn chronyd_loses_no_reply_with_a_key_of_any_kind() -> Result<()> {
    with_keys(Sender::Listed)
}

#[test]
fn chronyd_as_a_trusted_sender_loses_no_reply_with_a_key_of_any_kind() -> Result<()> {
    with_keys(Sender::Trusted)
}

#[test]
fn chronyd_loses_no_reply_with_network_time_security() -> Result<()> {
    with_nts(Sender::Listed)
}

#[test]
fn chronyd_as_a_trusted_sender_loses_no_reply_with_network_time_security() -> Result<()> {
    with_nts(Sender::Trusted)
}
