//! NTPsec, ntpd-rs, OpenNTPD, ntpdig. They poll slowly, so they poll many addresses.

use anyhow::{Result, ensure};
use ntpguard_tests::{
    daemons::{Setup, keys::KeyFile, ntpd_rs::NtpdRs, ntpdig, ntpsec::Ntpd, openntpd::OpenNtpd},
    process,
};

use super::{EXCHANGES, Network, Sender};

/// From port 123 to port 123, in bursts.
const BURST: &str = "iburst minpoll 0 maxpoll 3";

fn ntpsec(sender: Sender) -> Result<()> {
    let (ours, theirs) = (KeyFile::ntpsec()?, KeyFile::chrony()?);
    let network = Network::new(10, &format!("keyfile {}\n", theirs.path().display()))?;
    let keys = format!("keys {}\ntrustedkey 1 2 3\n", ours.path().display());
    let key = ["", "key 1", "key 2", "key 3"].into_iter().cycle();
    let servers = network.addresses.iter().zip(key);
    let servers = servers.map(|(server, key)| format!("server {server} {key} {BURST}\n"));
    let setup = Setup::new(&(keys + &servers.collect::<String>()), None)?;
    let start = |setup| Ntpd::start_in(&network.client.namespace, setup);
    network.loses_no_reply(sender, setup, start, |ntpd| {
        let peers = ntpd.peers()?;
        let all = peers.len() == network.addresses.len();
        let reached = peers
            .iter()
            .all(|peer| peer.reach != 0 && peer.stratum < 16);
        ensure!(all && reached, "{peers:?}");
        Ok(())
    })
}

fn ntpd_rs(sender: Sender) -> Result<()> {
    let network = Network::new(8, "")?;
    let setup = NtpdRs::setup(&NtpdRs::servers(&network.addresses), None)?;
    let start = |setup| NtpdRs::start_in(&network.client.namespace, setup);
    network.loses_no_reply(sender, setup, start, |ntpd| {
        let observed = ntpd.observe()?;
        let sources = observed["sources"].as_array();
        let answered = |source: &serde_json::Value| {
            // The last request may be under way.
            source["unanswered_polls"]
                .as_u64()
                .is_some_and(|polls| polls <= 1)
        };
        ensure!(
            sources
                .is_some_and(|sources| sources.len() == network.addresses.len()
                    && sources.iter().all(answered)),
            "{observed}"
        );
        Ok(())
    })
}

fn openntpd(sender: Sender) -> Result<()> {
    let network = Network::new(50, "")?;
    let config = network.lines(|server| format!("server {server}\n"));
    let start = |setup| OpenNtpd::start_in(&network.client.namespace, setup);
    network.loses_no_reply(sender, Setup::new(&config, None)?, start, |openntpd| {
        let replies = openntpd.replies()?;
        ensure!(replies.len() == network.addresses.len(), "{replies:?}");
        ensure!(
            replies.values().sum::<u64>() + 1 >= EXCHANGES,
            "{replies:?}"
        );
        Ok(())
    })
}

fn ntpdig(sender: Sender) -> Result<()> {
    const SAMPLES: u32 = 10;
    let network = Network::new(10, "")?;
    let (_config, guard) = network.guard(sender)?;
    let servers: Vec<_> = network.addresses.iter().map(ToString::to_string).collect();
    let ntpdig = network
        .client
        .namespace
        .within(&ntpdig::command(&servers, SAMPLES)?);
    let printed = process::run(match sender {
        Sender::Listed => ntpdig,
        Sender::Trusted => network.cgroup().command(&ntpdig),
    })?;
    ensure!(printed.contains("s8"), "{printed}");
    network.all_were_admitted(&guard)
}

#[test]
fn ntpsec_loses_no_reply_of_granted_servers_with_and_without_keys() -> Result<()> {
    ntpsec(Sender::Listed)
}

#[test]
fn ntpsec_as_a_trusted_sender_loses_no_reply_with_and_without_keys() -> Result<()> {
    ntpsec(Sender::Trusted)
}

#[test]
fn ntpd_rs_loses_no_reply_of_granted_servers() -> Result<()> {
    ntpd_rs(Sender::Listed)
}

#[test]
fn ntpd_rs_as_a_trusted_sender_loses_no_reply() -> Result<()> {
    ntpd_rs(Sender::Trusted)
}

#[test]
fn openntpd_loses_no_reply_of_granted_servers() -> Result<()> {
    openntpd(Sender::Listed)
}

#[test]
fn openntpd_as_a_trusted_sender_loses_no_reply() -> Result<()> {
    openntpd(Sender::Trusted)
}

#[test]
fn ntpdig_loses_no_reply_of_granted_servers() -> Result<()> {
    ntpdig(Sender::Listed)
}

#[test]
fn ntpdig_as_a_trusted_sender_loses_no_reply() -> Result<()> {
    ntpdig(Sender::Trusted)
}
