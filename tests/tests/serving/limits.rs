//! How often clients may ask.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ntpguard_common::{
    maps::{
        rates::{MOST_LET_THROUGH, Rates},
        tables::Role,
    },
    reason::Reason,
};
use ntpguard_tests::{
    daemons::{Setup, chrony::Chronyd},
    guard::{Counts, Guard, Home},
    lab::Lab,
    packets::{flood::Flood, frame, frame::Ethernet, ntp::Message},
    switch::Switch,
    wait::eventually,
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(10);
const SYNCHRONISED: Duration = Duration::from_secs(40);

const BURST: u64 = (Rates::CLIENT * Rates::CLIENT_SECONDS) as u64;
/// What an address is let through beyond its rate, a second and at once.
const BEYOND: u64 = Rates::CLIENT as u64 * MOST_LET_THROUGH;
const NETWORK: &str = "198.51.100.0/24";
const CLIENT: &str = "198.51.100.7";

fn guard(lab: &Lab, more: &[&str]) -> Result<Guard> {
    let source = lab.write("ntp.conf", "")?;
    let guard = lab.guard().source(&source).args(more).ready()?;
    for network in [NETWORK, "2001:db8:1::/48"] {
        let added = guard.cli(&["allowlist", "add", network, "--role", "client"])?;
        ensure!(added.status.success(), "{added:?}");
    }
    Ok(guard)
}

/// Sends so many requests of a client at once, and tells how many of them were admitted and how many
/// not, and how long they were on their way.
fn burst(lab: &Lab, home: &Home, from: &str, count: u64) -> Result<(u64, u64, Duration)> {
    let before = Counts::in_kernel(home)?;
    let began = Instant::now();
    let frame = lab.frame(from.parse()?, Role::Client)?;
    let flood = Flood::changing(&lab.outside.port, frame, u64::MAX, count, |_| {})?;
    ensure!(flood.wait()?.frames == count, "not all were sent");
    eventually(SOON, "all being counted", || {
        let after = Counts::in_kernel(home)?;
        let grown = |reason| after.enforced(reason) - before.enforced(reason);
        let (admitted, refused) = (grown(Reason::Client), grown(Reason::Rate));
        ensure!(
            admitted + refused == count,
            "{admitted} admitted and {refused} refused of {count}"
        );
        Ok((admitted, refused, began.elapsed()))
    })
}

/// Fails unless so many requests were admitted, and at most so many more a second in this time.
fn ensure_admitted(admitted: u64, least: u64, most: u64, took: Duration, rate: u64) -> Result<()> {
    let most = most + (took.as_secs() + 1) * rate;
    ensure!(
        (least..=most).contains(&admitted),
        "{admitted} were admitted, not {least} to {most}"
    );
    Ok(())
}

#[test]
fn a_thousand_requests_at_once_are_served_and_of_more_one_in_four_is_up_to_a_bound() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guard(&lab, &[])?;
    for client in [CLIENT, "2001:db8:1::7"] {
        let (admitted, refused, _) = burst(&lab, guard.home(), client, BURST)?;
        ensure!(
            admitted == BURST && refused == 0,
            "{client}: {refused} of a thousand were refused"
        );
        // A quarter, and what comes back meanwhile; of more no more than the bound.
        for (more, least, most) in [(2_000, 400, 600), (20_000, 0, BEYOND)] {
            let (admitted, refused, took) = burst(&lab, guard.home(), client, more)?;
            eprintln!(
                "{client}: of {more} more, {admitted} admitted and {refused} refused in {took:?}"
            );
            let rate = u64::from(Rates::CLIENT) + BEYOND;
            ensure_admitted(admitted, least, most, took, rate)?;
        }
    }
    // Nobody else is concerned: not another address, nor another /64.
    for other in ["198.51.100.8", "2001:db8:1:1::7"] {
        let (admitted, _, _) = burst(&lab, guard.home(), other, BURST)?;
        ensure!(admitted == BURST, "{other}: {admitted}");
    }
    // Another address of the same /64 is taken for the same client.
    let (_, refused, _) = burst(&lab, guard.home(), "2001:db8:1::8", BURST)?;
    ensure!(refused > 0, "a client with many addresses is not limited");
    Ok(())
}

#[test]
fn all_clients_together_have_a_rate_of_their_own() -> Result<()> {
    const TOTAL: u64 = 100;
    let lab = Lab::new()?;
    let guard = guard(&lab, &["--client-rate", "off", "--total-rate", "100"])?;
    let (admitted, _, took) = burst(&lab, guard.home(), CLIENT, 4_000)?;
    ensure_admitted(admitted, TOTAL, TOTAL, took, TOTAL)?;
    let (_, refused, _) = burst(&lab, guard.home(), "2001:db8:1::7", 1_000)?;
    ensure!(refused > 0, "another client is not limited with all");
    Ok(())
}

#[test]
fn limits_can_be_changed_and_are_told() -> Result<()> {
    let lab = Lab::new()?;
    let mut unlimited = guard(&lab, &["--client-rate", "off", "--total-rate", "off"])?;
    let (admitted, _, _) = burst(&lab, unlimited.home(), CLIENT, 20 * BURST)?;
    ensure!(admitted == 20 * BURST, "only {admitted} were admitted");
    let status: Value = unlimited.json(&["status", "--json"])?;
    ensure!(
        status["client_rate"].is_null() && status["total_rate"].is_null(),
        "{status}"
    );
    ensure!(unlimited.terminate()?.success(), "{}", unlimited.stderr());
    let source = lab.file("ntp.conf");
    let limited = lab
        .guard()
        .home(unlimited.home())
        .source(&source)
        .args(["--client-rate", "2"])
        .ready()?;
    let status: Value = limited.json(&["status", "--json"])?;
    ensure!(
        status["client_rate"] == 2 && status["total_rate"] == Rates::TOTAL,
        "{status}"
    );
    let (admitted, _, took) = burst(&lab, limited.home(), CLIENT, 4_000)?;
    let beyond = 2 * MOST_LET_THROUGH;
    ensure_admitted(admitted, 32, 32 + beyond, took, 2 + beyond)
}

#[test]
fn monitoring_counts_the_same_and_drops_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guard(&lab, &["--client-rate", "1", "--mode", "monitor"])?;
    let (seen, sent) = (lab.sink.count(), 400);
    let frame = lab.frame(CLIENT.parse()?, Role::Client)?;
    Flood::changing(&lab.outside.port, frame, 10_000, sent, |_| {})?.wait()?;
    lab.sink.wait_for(seen + sent, SOON)?;
    let counts = guard.counters()?;
    let beyond = counts.monitored(Reason::Rate);
    ensure!(
        beyond > 200 && beyond + counts.monitored(Reason::Client) == sent,
        "{counts:?}"
    );
    Ok(())
}

/// Somebody sends 8,000 requests a second in the name of a client, whose own are a few.
#[test]
fn whoever_forges_a_clients_address_cannot_shut_it_out() -> Result<()> {
    let switch = Switch::new()?;
    let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
    let forger = switch.host("forger", 3)?;
    let setup = Setup::new(&format!("local stratum 8\nallow {}\n", client.v4), None)?;
    let guard = Guard::builder(&server.namespace)
        .interface(&server.port.interface)
        .source(&setup.config())
        .ready()?;
    let _chronyd = Chronyd::start_in(&server.namespace, setup)?;

    let (from, to) = ((client.v4, 40_000).into(), (server.v4, 123).into());
    let packet = frame::udp(from, to, &Message::request(1).to_vec())?;
    let ethernet = Ethernet {
        from: forger.port.mac,
        to: server.port.mac,
        tags: &[],
    };
    let frames = vec![ethernet.wrap(&packet)];
    let flood = Flood::start(&forger.port, frames, Some(8_000), SYNCHRONISED)?;
    eventually(SOON, "the forged client's being beyond its rate", || {
        let counts = guard.counters()?;
        ensure!(counts.enforced(Reason::Rate) > 10_000, "{counts:?}");
        Ok(())
    })?;
    let config = format!("server {} iburst minpoll -2 maxpoll -2\n", server.v4);
    let mut daemon = Chronyd::start(&client.namespace, &config, None)?;
    daemon.wait_synchronised(SYNCHRONISED)?;
    let passed = daemon.exchanges(IpAddr::from(server.v4))?;
    let flooded = flood.stop()?;
    eprintln!(
        "under {:.0} forged requests a second: {passed:?}; {:?}",
        flooded.rate(),
        guard.counters()?.enforced
    );
    Ok(())
}
