//! Each daemon is started from a configuration alone, and the guard without any.

use anyhow::{Result, ensure};
use ntpguard_tests::{
    config::ConfigFile,
    daemons::{
        chrony::Chronyd,
        ntpd_rs::NtpdRs,
        ntpsec::Ntpd,
        openntpd::OpenNtpd,
        timesyncd::{self, Timesyncd},
    },
    guard::Guard,
    wait::eventually,
};

use super::{HEARD, Network, SYNCHRONISED, sources, wait_admitted};

const CHRONY: &str = "server time.test iburst minpoll 0 maxpoll 0\n";
const NTPSEC: &str = "server time.test iburst minpoll 0 maxpoll 3\n";

/// Makes sure that the guard has the daemon's file, and says whose it is.
fn ensure_found(guard: &Guard, daemon: &str) -> Result<()> {
    eventually(HEARD, "the daemon's configuration", || {
        let sources = sources(guard)?;
        let found = sources.iter().any(|(_, why)| why.contains(daemon));
        ensure!(found, "{sources:?}");
        Ok(())
    })
}

fn chronyd(network: &Network) -> Result<Chronyd> {
    Chronyd::start(
        &network.client.namespace,
        CHRONY,
        Some(network.dns.address()),
    )
}

#[test]
fn chronyd_is_found_and_stays_synchronised() -> Result<()> {
    let network = Network::new()?;
    let mut chronyd = chronyd(&network)?;
    let guard = network.guard().ready()?;
    ensure_found(&guard, "chronyd is running")?;
    chronyd.wait_synchronised(SYNCHRONISED)?;
    wait_admitted(&guard)
}

#[test]
fn a_chronyd_that_starts_after_the_guard_is_found_and_so_is_the_one_that_replaces_it() -> Result<()>
{
    let network = Network::new()?;
    let guard = network.guard().ready()?;
    let mut first = chronyd(&network)?;
    first.wait_synchronised(SYNCHRONISED)?;
    drop(first);
    // An upgrade: another process, of another file, while the first one's still counts.
    let mut second = chronyd(&network)?;
    second.wait_synchronised(SYNCHRONISED)?;
    let pid = format!("pid {}", second.id());
    ensure_found(&guard, &pid)?;
    wait_admitted(&guard)
}

#[test]
fn ntpsec_is_found_and_stays_synchronised() -> Result<()> {
    let network = Network::new()?;
    let mut ntpd = Ntpd::start(
        &network.client.namespace,
        NTPSEC,
        Some(network.dns.address()),
    )?;
    let guard = network.guard().ready()?;
    ensure_found(&guard, "ntpd is running")?;
    ntpd.wait_synchronised(SYNCHRONISED)?;
    wait_admitted(&guard)
}

#[test]
fn openntpd_is_found_and_takes_replies() -> Result<()> {
    let network = Network::new()?;
    let config = "servers time.test\n";
    let mut openntpd = OpenNtpd::start(
        &network.client.namespace,
        config,
        Some(network.dns.address()),
    )?;
    let guard = network.guard().ready()?;
    ensure_found(&guard, "OpenNTPD is running")?;
    openntpd.wait_replies(&network.server.addresses(), SYNCHRONISED)?;
    wait_admitted(&guard)
}

#[test]
fn ntpd_rs_is_found_and_takes_replies() -> Result<()> {
    let network = Network::new()?;
    let config = NtpdRs::servers(&network.server.addresses());
    let mut ntpd_rs = NtpdRs::start(
        &network.client.namespace,
        &config,
        Some(network.dns.address()),
    )?;
    let guard = network.guard().ready()?;
    ensure_found(&guard, "ntpd-rs is running")?;
    wait_admitted(&guard)?;
    ntpd_rs.wait_answered(&network.server.addresses(), SYNCHRONISED)
}

/// Its drop-in is in a /run of its own, as in a container.
#[test]
fn timesyncd_is_found_and_takes_the_time() -> Result<()> {
    let network = Network::new()?;
    let accounts = ConfigFile::guard(timesyncd::ACCOUNTS)?;
    let guard = network.guard().config(accounts.path()).ready()?;
    let config = "[Time]\nNTP=time.test\nPollIntervalMinSec=16\n";
    let timesyncd = Timesyncd::start(
        &network.client.namespace,
        config,
        Some(network.dns.address()),
    )?;
    ensure_found(&guard, "systemd-timesyncd is running")?;
    // From whichever address of the name.
    eventually(SYNCHRONISED, "the time for timesyncd", || {
        let log = timesyncd.log();
        ensure!(log.contains("Contacted time server"), "{log}");
        Ok(())
    })?;
    wait_admitted(&guard)
}

#[test]
fn two_daemons_are_found_at_once() -> Result<()> {
    let network = Network::new()?;
    let named = CHRONY.replace("time.test", &network.more[0].to_string());
    let mut chronyd = Chronyd::start(
        &network.client.namespace,
        &named,
        Some(network.dns.address()),
    )?;
    let config = NtpdRs::servers(&[network.more[1]]);
    let mut ntpd_rs = NtpdRs::start(
        &network.client.namespace,
        &config,
        Some(network.dns.address()),
    )?;
    let guard = network.guard().ready()?;
    chronyd.wait_synchronised(SYNCHRONISED)?;
    ntpd_rs.wait_answered(&network.more[1..], SYNCHRONISED)?;
    ensure_found(&guard, "chronyd is running")?;
    ensure_found(&guard, "ntpd-rs is running")?;
    wait_admitted(&guard)
}
