//! Packets that are forged in a server's name change a number, and nothing else.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use ntpguard_common::{reason::Reason, wire::ntp};
use ntpguard_tests::{
    bpftool,
    daemons::{Setup, responder::Manner},
    packets::{
        flood::Flood,
        frame::{self, Ethernet},
        ntp::Message,
    },
    wait::eventually,
};

use super::scene::{SOON, Scene};

const FORGED: u64 = 50_000;
/// A second.
const RATE: u64 = 50_000;
/// A network of clients and strangers beside the server.
const STRANGERS: [u8; 3] = [203, 0, 113];

/// What an administrator, a log reader or a monitoring system may see of it.
struct Seen {
    exit: Option<i32>,
    findings: String,
    log: usize,
    resident: u64,
    entries: usize,
}

fn seen(guard: &ntpguard_tests::guard::Guard) -> Result<Seen> {
    let status = guard.json(&["status", "--json"])?;
    let refusals = guard.home().pin_dir().join("maps/REFUSALS");
    Ok(Seen {
        exit: guard.cli(&["status"])?.status.code(),
        findings: format!("{} {}", status["problems"], status["trouble"]),
        log: guard.stderr().lines().count(),
        resident: guard.resident()?.0,
        entries: bpftool::map_dump(&refusals)?.len(),
    })
}

#[test]
fn a_flood_in_a_servers_name_changes_a_number_and_nothing_else() -> Result<()> {
    let scene = Scene::new(|_| Manner::default())?;
    let setup = Setup::new(&format!("server {}\n", scene.asked), None)?;
    let guard = scene.guard(&setup, &[])?;
    let to: IpAddr = scene.client.v4.into();
    let forged = |from: IpAddr| -> Result<Vec<u8>> {
        let reply = Message::new(4, 4).to_vec();
        let packet = frame::udp((from, ntp::PORT).into(), (to, ntp::PORT).into(), &reply)?;
        let ethernet = Ethernet {
            from: scene.server.port.mac,
            to: scene.client.port.mac,
            tags: &[],
        };
        Ok(ethernet.wrap(&packet))
    };
    // Once, so that its row is there already, and nothing else of this is new.
    Flood::changing(&scene.server.port, forged(scene.asked)?, RATE, 1, |_| {})?.wait()?;
    scene.shows(&guard, "unsolicited")?;
    let before = seen(&guard)?;

    let flood = forged(scene.asked)?;
    Flood::changing(&scene.server.port, flood, RATE, FORGED, |_| {})?.wait()?;
    let [a, b, c] = STRANGERS;
    let strangers = forged(IpAddr::from([a, b, c, 1]))?;
    // Each from another address: the last 16 bits of IPv4's source.
    let mut number = 0_u16;
    let change = move |frame: &mut [u8]| {
        number = number.wrapping_add(1);
        frame[28..30].copy_from_slice(&number.to_be_bytes());
    };
    Flood::changing(&scene.server.port, strangers, RATE, FORGED, change)?.wait()?;

    eventually(SOON, "the forged packets' being counted", || {
        let counted = guard.counters()?.enforced(Reason::Unsolicited);
        ensure!(counted > FORGED / 2, "{counted}");
        let refused = &scene.status(&guard)?["refused"][0]["packets"];
        ensure!(refused.as_u64() == Some(counted), "{refused} of {counted}");
        Ok(())
    })?;
    let after = seen(&guard)?;
    ensure!(
        after.exit == Some(0) && after.exit == before.exit,
        "{:?}",
        after.exit
    );
    ensure!(after.findings == before.findings, "{}", after.findings);
    ensure!(after.log == before.log, "{}", guard.stderr());
    ensure!(
        (before.entries, after.entries) == (1, 1),
        "{} entries",
        after.entries
    );
    let grown = after.resident.saturating_sub(before.resident);
    ensure!(grown < 2 << 20, "{grown} bytes more");
    Ok(())
}
