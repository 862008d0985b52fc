//! Who sends most is found among any number of forged addresses.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    packets::{flood::Flood, ntp::Message},
    wait::eventually,
};

use super::scene::{CLIENTS, OTHER_PORT, SOON, STRANGERS, Scene};

/// Where an IPv4 source is in a frame.
const SOURCE: std::ops::Range<usize> = 14 + 12..14 + 16;

/// Bytes that the daemon may have more of after a flood than before.
const GROWTH: u64 = 2 << 20;

#[test]
fn a_heavy_sender_is_named_among_forged_addresses() -> Result<()> {
    const RATE: u64 = 20_000;
    const FRAMES: u64 = 8 * RATE;
    let scene = Scene::new()?;
    let guard = scene.guard(&[])?;
    let [heavy, _] = STRANGERS;
    let source = heavy.parse::<Ipv4Addr>()?.octets();
    let frame = scene.frame(heavy, OTHER_PORT, &Message::request(1).to_vec())?;
    let flood = |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let forge = move |frame: &mut [u8]| {
            // One in twenty is the heavy sender's.
            let bytes = match random.u32(0..20) {
                0 => source,
                _ => (0x6400_0000 | random.u32(..) >> 8).to_be_bytes(),
            };
            frame[SOURCE].copy_from_slice(&bytes);
        };
        let port = &scene.lab.outside.port;
        Flood::changing(port, frame.clone(), RATE, FRAMES, forge)?.wait()
    };
    // Once before, for the memory that any flood takes.
    flood(1)?;
    let (before, _) = guard.resident()?;
    flood(2)?;
    let (after, _) = guard.resident()?;
    ensure!(after < before + GROWTH, "{before} bytes became {after}");

    let counted = guard.counters()?.enforced(Reason::Unlisted);
    let top = guard.json(&["top", "--json"])?;
    let first = &top["senders"][0];
    ensure!(
        first["source"] == format!("{heavy}/32")
            && first["reason"] == "unlisted"
            && first["verdict"] == "dropped",
        "{first} of {counted}"
    );
    let packets = first["packets"].as_u64().context("no estimate")?;
    let error = first["error"].as_u64().context("no bound")?;
    // A twentieth, as far as it can be told from some hundred samples of each flood.
    ensure!(
        packets > counted / 50 && packets - error < counted / 10,
        "{first} of {counted}"
    );
    let senders = top["senders"].as_array().map_or(0, Vec::len);
    ensure!(senders > 20 && senders <= 256, "{senders} senders");
    let table = guard.cli(&["top"])?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    ensure!(
        table
            .lines()
            .nth(1)
            .is_some_and(|line| line.starts_with(heavy)),
        "{table}"
    );
    Ok(())
}

#[test]
fn top_knows_reasons_and_networks_and_nobody_who_is_admitted() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard(&[])?;
    let request = Message::request(1).to_vec();
    let nobody = guard.cli(&["top"])?;
    ensure!(
        nobody.status.success()
            && String::from_utf8_lossy(&nobody.stdout).contains("no rejected packets"),
        "{nobody:?}"
    );
    let [v4, _] = STRANGERS;
    let frames = [
        scene.frame(v4, OTHER_PORT, &request)?,
        scene.frame("2001:db8:bad::1", OTHER_PORT, &request)?,
        scene.frame("2001:db8:bad::2", OTHER_PORT, &request)?,
        scene.frame(
            v4,
            OTHER_PORT,
            &ntpguard_tests::packets::ntp::monlist_request(),
        )?,
        scene.frame(CLIENTS[0], OTHER_PORT, &request)?,
    ];
    let began = Instant::now();
    eventually(SOON, "the senders", || {
        frames.iter().try_for_each(|frame| scene.send(frame))?;
        // For each to be the first that may be told.
        std::thread::sleep(Duration::from_millis(
            began.elapsed().as_millis() as u64 % 7,
        ));
        frames
            .iter()
            .rev()
            .try_for_each(|frame| scene.send(frame))?;
        let top = guard.json(&["top", "--json"])?;
        let senders = top["senders"].as_array().context("no senders")?;
        let mut found: Vec<_> = senders
            .iter()
            .map(|row| format!("{} {}", row["source"], row["reason"]))
            .collect();
        found.sort();
        let expected = [
            r#""2001:db8:bad::/64" "unlisted""#,
            r#""203.0.113.9/32" "private""#,
            r#""203.0.113.9/32" "unlisted""#,
        ];
        ensure!(found == expected, "{top}");
        Ok(())
    })
}
