//! Names whose DNS fails, lies, or says too much.

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::{
    dns::{Behaviour, DnsServer},
    guard::Guard,
    lab::Lab,
    wait::eventually,
};
use serde_json::json;

use super::{KNOWN, NEW, no_more_memory_than_allowed, status, unhurt};

/// A guard of a host whose only server is a name, which is known to be `KNOWN`.
fn with_name(lab: &Lab) -> Result<(DnsServer, Guard)> {
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    dns.set_fixed("time.test", &[KNOWN.parse()?]);
    let source = lab.write("ntp.conf", "server time.test\n")?;
    let guard = lab
        .guard()
        .source(&source)
        .resolver(dns.address())
        .ready()?;
    lab.admits(guard.home(), KNOWN, Role::Server)?;
    Ok((dns, guard))
}

fn update(guard: &Guard) -> Result<()> {
    let output = guard.cli(&["allowlist", "update"])?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn a_failure_hurts_nothing(behaviour: Behaviour, hint: &str) -> Result<()> {
    let lab = Lab::new()?;
    let (dns, guard) = with_name(&lab)?;
    dns.set("time.test", behaviour);
    let update = guard.cli(&["allowlist", "update"])?;
    ensure!(update.status.code() == Some(1), "{update:?}");
    unhurt(&lab, &guard)?;
    let told = status(&guard)?;
    let name = &told["names"][0];
    let error = name["error"]
        .as_str()
        .with_context(|| format!("no error in {told}"))?;
    ensure!(error.to_lowercase().contains(hint), "{error}");
    ensure!(
        name["name"] == "time.test" && name["addresses"] == 1,
        "{told}"
    );
    ensure!(
        name["failing_for"]
            .as_u64()
            .is_some_and(|seconds| seconds < 60),
        "{told}"
    );
    // It is asked again by itself before long.
    dns.set_fixed("time.test", &[NEW.parse()?]);
    eventually(Duration::from_secs(10), "a retry", || {
        lab.admits(guard.home(), NEW, Role::Server)
    })?;
    lab.admits(guard.home(), KNOWN, Role::Server)?;
    let told = status(&guard)?;
    ensure!(told["names"][0]["error"].is_null(), "{told}");
    ensure!(told["names"][0]["failing_for"].is_null(), "{told}");
    Ok(())
}

#[test]
fn a_dns_server_that_fails_hurts_nothing() -> Result<()> {
    a_failure_hurts_nothing(Behaviour::ServFail, "fail")
}

#[test]
fn a_dns_server_that_knows_no_such_name_hurts_nothing() -> Result<()> {
    a_failure_hurts_nothing(Behaviour::NxDomain, "no such name")
}

#[test]
fn a_dns_server_that_sends_garbage_hurts_nothing() -> Result<()> {
    a_failure_hurts_nothing(Behaviour::Garbage, "")
}

#[test]
fn a_dns_server_that_is_silent_hurts_nothing() -> Result<()> {
    a_failure_hurts_nothing(Behaviour::Silent, "")
}

#[test]
fn a_loop_of_aliases_hurts_nothing() -> Result<()> {
    a_failure_hurts_nothing(Behaviour::Cname("time.test".into()), "")
}

#[test]
fn an_answer_of_none_but_impossible_addresses_hurts_nothing() -> Result<()> {
    let addresses = ["127.0.0.1", "224.0.1.1", "255.255.255.255", "::1"];
    let addresses: Vec<IpAddr> = addresses
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    a_failure_hurts_nothing(Behaviour::Fixed { addresses, ttl: 60 }, "127.0.0.1")
}

#[test]
fn a_start_while_dns_fails_guards_and_recovers() -> Result<()> {
    let lab = Lab::new()?;
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    dns.set("time.test", Behaviour::ServFail);
    let source = lab.write("ntp.conf", "server time.test\n")?;
    let guard = lab
        .guard()
        .source(&source)
        .resolver(dns.address())
        .ready()?;
    lab.drops(guard.home(), KNOWN, Role::Server)?;
    dns.set_fixed("time.test", &[KNOWN.parse()?]);
    eventually(Duration::from_secs(10), "a retry", || {
        lab.admits(guard.home(), KNOWN, Role::Server)
    })?;
    unhurt(&lab, &guard)
}

#[test]
fn impossible_addresses_among_good_ones_are_refused_and_told() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, guard) = with_name(&lab)?;
    let impossible = [
        "0.0.0.0",
        "127.0.0.1",
        "224.0.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "ff02::101",
        "::ffff:192.0.2.77",
    ];
    let mut answer = vec![NEW.parse()?];
    for address in impossible {
        answer.push(address.parse()?);
    }
    dns.set_fixed("time.test", &answer);
    let updated = guard.json(&["allowlist", "update", "--json"])?;
    ensure!(updated["added"] == json!(["192.0.2.2/32"]), "{updated}");
    unhurt(&lab, &guard)?;
    lab.admits(guard.home(), NEW, Role::Server)?;
    for address in ["127.0.0.1", "192.0.2.77"] {
        let listing = guard.json(&["allowlist", "list", "--json"])?.to_string();
        ensure!(!listing.contains(address), "{listing}");
    }
    let told = status(&guard)?;
    let refused = told["names"][0]["refused"].to_string();
    ensure!(
        refused.contains("127.0.0.1 (loopback)") && refused.contains("multicast"),
        "{refused}"
    );
    Ok(())
}

#[test]
fn thousands_of_addresses_are_cut_to_a_names_share() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, guard) = with_name(&lab)?;
    dns.set("time.test", Behaviour::Many(2_000));
    update(&guard)?;
    unhurt(&lab, &guard)?;
    let told = status(&guard)?;
    let name = &told["names"][0];
    let addresses = name["addresses"].as_u64().context("no number")?;
    ensure!((2..=1_024).contains(&addresses), "{name}");
    ensure!(
        name["over_cap"]
            .as_u64()
            .is_some_and(|left_out| left_out > 1_000),
        "{name}"
    );
    lab.admits(guard.home(), "10.0.0.1", Role::Server)
}

/// More names than processes may ask for at once.
#[test]
fn a_start_with_a_hundred_names_has_no_failures() -> Result<()> {
    let lab = Lab::new()?;
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    let mut text = String::new();
    for number in 0..100_u8 {
        let name = format!("n{number}.test");
        dns.set_fixed(&name, &[[198, 18, 0, number].into()]);
        writeln!(text, "server {name}")?;
    }
    let source = lab.write("ntp.conf", &text)?;
    let guard = lab.guard().source(&source);
    let guard = guard.resolver(dns.address()).ready()?;
    let names = status(&guard)?["names"].clone();
    let names = names.as_array().context("no names")?;
    ensure!(names.len() == 100, "{names:?}");
    for name in names {
        ensure!(name["error"].is_null() && name["addresses"] == 1, "{name}");
    }
    let log = guard.stderr();
    ensure!(!log.contains("it is asked again"), "{log}");
    Ok(())
}

#[test]
fn answers_that_go_on_changing_stay_within_a_names_share() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, guard) = with_name(&lab)?;
    for answer in 0..8_u8 {
        let addresses: Vec<IpAddr> = (0..200)
            .map(|last| [198, 18, answer, last].into())
            .collect();
        dns.set_fixed("time.test", &addresses);
        update(&guard)?;
    }
    let told = status(&guard)?;
    ensure!(told["names"][0]["addresses"] == 1_024, "{told}");
    ensure!(told["grants"]["addresses"] == 1_024, "{told}");
    // What DNS named last is in, what it named first has made room.
    lab.admits(guard.home(), "198.18.7.199", Role::Server)?;
    lab.drops(guard.home(), "198.18.0.1", Role::Server)?;
    no_more_memory_than_allowed(&guard)
}

#[test]
fn a_chain_of_aliases_is_followed() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, guard) = with_name(&lab)?;
    dns.set("time.test", Behaviour::Cname("a.test".into()));
    dns.set("a.test", Behaviour::Cname("b.test".into()));
    dns.set("b.test", Behaviour::Cname("c.test".into()));
    dns.set_fixed("c.test", &[NEW.parse()?]);
    update(&guard)?;
    lab.admits(guard.home(), NEW, Role::Server)?;
    unhurt(&lab, &guard)
}
