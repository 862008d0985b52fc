//! Real time daemons find each other, and cannot set the clock.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    daemons::{
        chrony::Chronyd, ntpd_rs::NtpdRs, ntpsec::Ntpd, openntpd::OpenNtpd, timesyncd::Timesyncd,
    },
    dns::DnsServer,
    namespace::Namespace,
    process,
    wait::eventually,
};

use super::pair;

/// How long a client has to find its server.
const SYNCHRONISED: Duration = Duration::from_secs(20);

#[test]
fn chronyd_synchronises_from_chronyd() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let _server = Chronyd::serve(&server.namespace)?;
    let config = format!("server {} iburst minpoll 0 maxpoll 0\n", server.v4);
    let mut chronyd = Chronyd::start(&client.namespace, &config, None)?;
    let sources = chronyd.wait_synchronised(SYNCHRONISED)?;
    ensure!(sources[0].address == server.v4.to_string(), "{sources:?}");
    Ok(())
}

#[test]
fn chronyd_without_a_server_does_not_synchronise() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let config = format!("server {} iburst minpoll 0 maxpoll 0\n", server.v4);
    let mut chronyd = Chronyd::start(&client.namespace, &config, None)?;
    let error = chronyd
        .wait_synchronised(Duration::from_secs(3))
        .expect_err("nobody serves");
    ensure!(format!("{error:#}").contains("reach: 0"), "{error:#}");
    Ok(())
}

#[test]
fn ntpsec_reaches_chronyd_over_both_families() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let _server = Chronyd::serve(&server.namespace)?;
    let config = format!(
        "server {} iburst minpoll 0 maxpoll 3\nserver {} iburst minpoll 0 maxpoll 3\n",
        server.v4, server.v6
    );
    let mut ntpd = Ntpd::start(&client.namespace, &config, None)?;
    ntpd.wait_synchronised(SYNCHRONISED)?;
    eventually(SYNCHRONISED, "both addresses", || {
        let peers = ntpd.peers()?;
        ensure!(
            peers.len() == 2 && peers.iter().all(|peer| peer.reach != 0),
            "{peers:?}"
        );
        ensure!(peers[1].address == server.v6.to_string(), "{peers:?}");
        Ok(())
    })
}

#[test]
fn chronyd_synchronises_from_ntpsec_by_a_name() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let dns = DnsServer::start(&server.namespace, server.v4.into())?;
    dns.set_fixed("time.test", &[server.v4.into()]);
    let _server = Ntpd::serve(&server.namespace)?;
    let config = "server time.test iburst minpoll 0 maxpoll 0\n";
    let mut chronyd = Chronyd::start(&client.namespace, config, Some(dns.address()))?;
    chronyd.wait_synchronised(SYNCHRONISED)?;
    ensure!(
        dns.asked("time.test") > 0,
        "chronyd asked another DNS server"
    );
    Ok(())
}

#[test]
fn ntpsec_synchronises_from_ntpsec_by_a_name() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let dns = DnsServer::start(&server.namespace, server.v4.into())?;
    dns.set_fixed("time.test", &[server.v4.into()]);
    let _server = Ntpd::serve(&server.namespace)?;
    let config = "server time.test iburst minpoll 0 maxpoll 3\n";
    let mut ntpd = Ntpd::start(&client.namespace, config, Some(dns.address()))?;
    ntpd.wait_synchronised(SYNCHRONISED)?;
    ensure!(dns.asked("time.test") > 0, "ntpd asked another DNS server");
    Ok(())
}

#[test]
fn openntpd_takes_replies_over_both_families() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let _server = Chronyd::serve(&server.namespace)?;
    let config = format!("server {}\nserver {}\n", server.v4, server.v6);
    let mut openntpd = OpenNtpd::start(&client.namespace, &config, None)?;
    openntpd.wait_replies(&server.addresses(), SYNCHRONISED)
}

#[test]
fn ntpd_rs_takes_replies_over_both_families() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let _server = Chronyd::serve(&server.namespace)?;
    let config = NtpdRs::servers(&server.addresses());
    let mut ntpd = NtpdRs::start(&client.namespace, &config, None)?;
    ntpd.wait_answered(&server.addresses(), SYNCHRONISED)
}

#[test]
fn ntpd_rs_steers_a_clock_that_does_not_move() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let _server = Chronyd::serve(&server.namespace)?;
    let config = NtpdRs::servers(&[server.v4.into()]);
    let mut ntpd = NtpdRs::start(&client.namespace, &config, None)?;
    eventually(SYNCHRONISED, "ntpd-rs's synchronisation", || {
        let stratum = ntpd.observe()?["system"]["stratum"].clone();
        ensure!(stratum == 9, "stratum {stratum}");
        Ok(())
    })?;
    // It goes on where it could have ended for want of the right.
    ntpd.wait_answered(&[server.v4.into()], SYNCHRONISED)
}

#[test]
fn timesyncd_takes_the_time_by_a_name() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let dns = DnsServer::start(&server.namespace, server.v4.into())?;
    dns.set_fixed("time.test", &[server.v4.into()]);
    let _server = Chronyd::serve(&server.namespace)?;
    let config = "[Time]\nNTP=\nNTP=time.test\n";
    let mut timesyncd = Timesyncd::start(&client.namespace, config, Some(dns.address()))?;
    timesyncd.wait_synchronised(server.v4.into(), SYNCHRONISED)
}

#[test]
fn no_daemon_can_set_the_clock() -> Result<()> {
    const CAP_SYS_TIME: u32 = 25;
    let (chrony, ntpsec) = (Namespace::new("chrony")?, Namespace::new("ntpsec")?);
    let (chronyd, ntpd) = (Chronyd::serve(&chrony)?, Ntpd::serve(&ntpsec)?);
    let own = [
        Namespace::new("a")?,
        Namespace::new("b")?,
        Namespace::new("c")?,
    ];
    let openntpd = OpenNtpd::start(&own[0], "", None)?;
    let ntpd_rs = NtpdRs::start(&own[1], &NtpdRs::servers(&[]), None)?;
    let timesyncd = Timesyncd::start(&own[2], "[Time]\n", None)?;
    eventually(
        SYNCHRONISED,
        "timesyncd itself, after what starts it",
        || {
            let name = std::fs::read_to_string(format!("/proc/{}/comm", timesyncd.id()))?;
            ensure!(name.starts_with("systemd-timesyn"), "{name}");
            Ok(())
        },
    )?;
    for pid in [
        chronyd.id(),
        ntpd.id(),
        openntpd.id(),
        ntpd_rs.id(),
        timesyncd.id(),
    ] {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
        ensure!(
            ["chronyd", "ntpd", "ntp-daemon", "systemd-timesyn"].contains(&name.trim()),
            "{pid} is {name}"
        );
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let sets: Vec<&str> = status
            .lines()
            .filter(|line| line.starts_with("Cap"))
            .collect();
        ensure!(sets.len() == 5, "{status}");
        for set in sets {
            let bits = set
                .split_whitespace()
                .nth(1)
                .context("a set of capabilities")?;
            let bits = u64::from_str_radix(bits, 16)?;
            ensure!(
                bits >> CAP_SYS_TIME & 1 == 0,
                "{name} may set the clock: {set}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_missing_daemon_is_named_with_what_to_do() -> Result<()> {
    let test = std::env::current_exe()?;
    let mut again = Command::new(test);
    again
        .args(["--exact", "daemons::chronyd_synchronises_from_chronyd"])
        .env("NTPGUARD_DAEMONS", "/nowhere");
    let output = process::output(again, SYNCHRONISED)?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(!output.status.success(), "a test passed without its daemon");
    ensure!(
        said.contains("/nowhere/chrony/usr/sbin/chronyd is missing"),
        "{said}"
    );
    ensure!(said.contains("cargo xtask setup"), "{said}");
    Ok(())
}
