//! Whatever others ask, and however often, they cannot push out the time daemon's requests.

use std::{fs, net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Result, ensure};
use ntpguard_common::{maps::tables::names, reason::Reason, wire::ntp};
use ntpguard_tests::{
    bpftool,
    cgroup::Cgroup,
    config::ConfigFile,
    daemons::{Setup, chrony::Chronyd},
    guard::Guard,
    packets::{
        flood::Flood,
        frame::{self, Ethernet},
        ntp::Message,
    },
    switch::Switch,
    wait::eventually,
};

const SYNCHRONISED: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(5);

/// Of either kind: to any servers, and to the one that is granted.
const REQUESTS: u64 = 500_000;
/// A second.
const RATE: u64 = 100_000;

/// Where things are in an Ethernet frame with IPv4 and an NTP header.
const DESTINATION: std::ops::Range<usize> = 30..34;
const CHECKSUM: std::ops::Range<usize> = 40..42;
const TRANSMIT: std::ops::Range<usize> = 82..90;

/// Bytes that a guard may have more of after a million requests than before.
const GROWTH: u64 = 4 << 20;

#[test]
fn a_million_requests_of_others_cost_the_daemon_no_reply_and_nothing_grows() -> Result<()> {
    let switch = Switch::new()?;
    let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
    // What others ask goes where nobody answers.
    let nowhere = switch.host("nowhere", 3)?;
    let chronyd = Chronyd::serve(&server.namespace)?;
    let (config, cgroup) = (ConfigFile::chrony("")?, Cgroup::new()?);
    let guard = Guard::builder(&client.namespace)
        .interface(&client.port.interface)
        .source(config.path())
        .args(["--trust".as_ref(), cgroup.path().as_os_str()])
        .ready()?;
    let granted = switch.v4(9);
    guard.json(&["allowlist", "add", &granted.to_string(), "--json"])?;
    let sources = format!("server {} iburst minpoll -4 maxpoll -4\n", server.v4);
    let setup = Setup::new(&sources, None)?.inside(&cgroup);
    let mut daemon = Chronyd::start_in(&client.namespace, setup)?;
    daemon.wait_synchronised(SYNCHRONISED)?;

    let (memory, _) = guard.resident()?;
    let request = frame::udp(
        (client.v4, ntp::PORT).into(),
        (granted, ntp::PORT).into(),
        &Message::request(1).to_vec(),
    )?;
    let link = Ethernet {
        from: client.port.mac,
        to: nowhere.port.mac,
        tags: &[],
    };
    let mut random = fastrand::Rng::with_seed(4);
    let mut number = 0;
    let flood = Flood::changing(
        &client.port,
        link.wrap(&request),
        RATE,
        2 * REQUESTS,
        move |frame| {
            number += 1;
            frame[TRANSMIT].copy_from_slice(&random.u64(1..).to_be_bytes());
            // To the granted server, and each time to another that is not.
            let server = if number % 2 == 0 {
                granted
            } else {
                Ipv4Addr::from_bits(Ipv4Addr::new(44, 0, 0, 0).to_bits() + number)
            };
            frame[DESTINATION].copy_from_slice(&server.octets());
            // IPv4's own checksum is of no interest where nobody is at home; UDP's may be absent.
            frame[CHECKSUM].fill(0);
        },
    )?;
    let flooded = flood.wait()?;
    ensure!(flooded.frames == 2 * REQUESTS, "{flooded:?}");

    let requests = guard.json(&["status", "--json"])?["requests"].clone();
    ensure!(
        requests["granted"] == REQUESTS && requests["ungranted"] == REQUESTS,
        "{requests}"
    );
    let sources = daemon.sources()?;
    ensure!(
        sources.len() == 1 && sources[0].state == '*' && sources[0].reach == 0o377,
        "{sources:?}"
    );
    let exchanges = daemon.exchanges(server.v4.into())?;
    // One request may be under way.
    ensure!(
        exchanges.received + 1 >= exchanges.sent && exchanges.valid == exchanges.received,
        "{exchanges:?}"
    );
    drop(daemon);
    eventually(SOON, "as many replies admitted as sent", || {
        let (sent, counts) = (chronyd.answered()?, guard.counters()?);
        let admitted = counts.enforced(Reason::Server);
        ensure!(
            sent == admitted && sent >= 80,
            "{sent} were sent: {counts:?}"
        );
        let others = Reason::ALL.iter().map(|reason| counts.enforced(*reason));
        ensure!(others.sum::<u64>() == admitted, "{counts:?}");
        Ok(())
    })?;

    // Nothing that others do has an entry where the daemon's requests are, nor one too many.
    let learned = guard.json(&["allowlist", "list", "--json"])?;
    let learned = learned["rows"].as_array().map_or(0, |rows| {
        let is_learned =
            |row: &&serde_json::Value| row["origins"] == serde_json::json!(["learned"]);
        rows.iter().filter(is_learned).count()
    });
    ensure!(learned == 1, "{learned} servers were learned");
    no_map_holds_too_much(&guard.home().pin_dir().join("maps"))?;
    let (after, _) = guard.resident()?;
    ensure!(
        after <= memory + GROWTH,
        "{memory} bytes before, {after} after"
    );
    Ok(())
}

fn no_map_holds_too_much(maps: &Path) -> Result<()> {
    for map in fs::read_dir(maps)? {
        let map = map?.path();
        // A ring buffer, which has its size and no entries to be listed.
        if map.ends_with(names::EVENTS) {
            continue;
        }
        let most = bpftool::map_show(&map)?["max_entries"].as_u64();
        let entries = bpftool::map_dump(&map)?.len() as u64;
        ensure!(
            Some(entries) <= most,
            "{}: {entries} of {most:?}",
            map.display()
        );
    }
    Ok(())
}
