//! DNS servers answer a real resolver as they were told to.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ntpguard_tests::{
    daemons::output_with_nameserver,
    dns::{Behaviour, DnsServer},
    dnsmasq::Dnsmasq,
    switch::Host,
};

use super::{FORGED, pair};

#[test]
fn the_dns_server_rotates_as_pool_ntp_org_does() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let dns = DnsServer::start(&server.namespace, server.v4.into())?;
    let pool: Vec<IpAddr> = (1..=12)
        .map(|last| IpAddr::from([192, 0, 2, last]))
        .collect();
    dns.set(
        "pool.test",
        Behaviour::Rotate {
            pool: pool.clone(),
            per_answer: 4,
            ttl: 150,
        },
    );
    let mut seen = Vec::new();
    for _ in 0..3 {
        let addresses = resolve(&client, &dns, "pool.test")?;
        ensure!(addresses.len() == 4, "{addresses:?}");
        seen.extend(addresses);
    }
    seen.sort_unstable();
    ensure!(
        seen == pool,
        "three answers of four are the whole pool, not {seen:?}"
    );
    Ok(())
}

#[test]
fn the_dns_server_follows_aliases_and_tells_failures_apart() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let dns = DnsServer::start(&server.namespace, server.v4.into())?;
    dns.set_fixed("c.test", &[FORGED]);
    dns.set("b.test", Behaviour::Cname("c.test".into()));
    dns.set("a.test", Behaviour::Cname("b.test".into()));
    dns.set("loop.test", Behaviour::Cname("loop.test".into()));
    dns.set("failing.test", Behaviour::ServFail);
    dns.set("garbage.test", Behaviour::Garbage);
    ensure!(
        resolve(&client, &dns, "a.test")? == [FORGED],
        "a chain of aliases"
    );
    // It can change its mind while it runs.
    dns.set_fixed("c.test", &[server.v4.into()]);
    ensure!(
        resolve(&client, &dns, "a.test")? == [server.v4],
        "another address"
    );
    for name in ["loop.test", "failing.test", "garbage.test", "unknown.test"] {
        let addresses = resolve(&client, &dns, name)?;
        ensure!(addresses.is_empty(), "{name} has {addresses:?}");
        ensure!(dns.asked(name) > 0, "{name} was not asked for");
    }
    Ok(())
}

#[test]
fn a_silent_dns_server_lets_a_resolver_wait() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let dns = DnsServer::start(&server.namespace, server.v4.into())?;
    dns.set("silent.test", Behaviour::Silent);
    let began = Instant::now();
    ensure!(
        resolve(&client, &dns, "silent.test")?.is_empty(),
        "an answer"
    );
    ensure!(
        began.elapsed() > Duration::from_secs(1),
        "it did not wait for its time-out"
    );
    Ok(())
}

#[test]
fn a_long_dns_answer_comes_whole_over_tcp() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let dns = DnsServer::start(&server.namespace, server.v4.into())?;
    dns.set("many.test", Behaviour::Many(1000));
    let addresses = resolve(&client, &dns, "many.test")?;
    ensure!(addresses.len() == 1000, "{} addresses", addresses.len());
    let over_tcp: Vec<bool> = dns
        .questions()
        .iter()
        .map(|question| question.tcp)
        .collect();
    ensure!(
        over_tcp.contains(&false) && over_tcp.contains(&true),
        "{over_tcp:?}"
    );
    Ok(())
}

#[test]
fn dnsmasq_answers_from_its_records() -> Result<()> {
    let (_switch, server, client) = pair()?;
    let address = IpAddr::from(server.v4);
    let dnsmasq = Dnsmasq::start(&server.namespace, address, &[("time.test", FORGED)])?;
    let addresses = look_up(&client, dnsmasq.address(), "time.test")?;
    ensure!(addresses == [FORGED], "{addresses:?}");
    Ok(())
}

/// What the C library's resolver finds in the client's place.
fn resolve(client: &Host, dns: &DnsServer, name: &str) -> Result<Vec<IpAddr>> {
    look_up(client, dns.address(), name)
}

fn look_up(client: &Host, dns: IpAddr, name: &str) -> Result<Vec<IpAddr>> {
    let output = output_with_nameserver(&client.namespace, dns, &["getent", "ahostsv4", name])?;
    let printed = String::from_utf8_lossy(&output.stdout);
    // 2: not found.
    ensure!(
        matches!(output.status.code(), Some(0 | 2)),
        "getent: {output:?}"
    );
    let mut addresses = Vec::new();
    for line in printed.lines().filter(|line| line.contains("STREAM")) {
        addresses.push(line.split_whitespace().next().unwrap_or_default().parse()?);
    }
    Ok(addresses)
}
