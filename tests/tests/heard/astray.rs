//! Answers that come from elsewhere than asked, or go elsewhere, are shown with the request they belong to.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::wire::ntp;
use ntpguard_tests::{
    daemons::{Setup, chrony::Chronyd, responder::Manner},
    guard::Guard,
    wait::eventually,
};
use serde_json::Value;

use super::scene::{SOON, Scene};

/// Has a chronyd ask a server that answers so, and waits for a pair of this kind.
fn pair(manner: impl FnOnce(IpAddr) -> Manner, astray: &str) -> Result<(Scene, Guard, Value)> {
    let scene = Scene::new(manner)?;
    let config = format!("server {} iburst minpoll 0 maxpoll 0\n", scene.asked);
    let setup = Setup::new(&config, None)?;
    let guard = scene.guard(&setup, &[])?;
    let chronyd = Chronyd::start_in(&scene.client.namespace, setup)?;
    let pair = eventually(SOON, "the pair in `status`", || {
        let status = guard.json(&["status", "--json"])?;
        let pairs = status["astray"].as_array().context("no pairs")?;
        let pair = pairs.iter().find(|pair| pair["astray"] == *astray);
        pair.cloned().with_context(|| format!("{pairs:?}"))
    })?;
    drop(chronyd);
    let text = Scene::text(&guard)?;
    let words = pair["text"].as_str().context("no text")?;
    ensure!(text.contains(words), "no {words} in {text}");
    Ok((scene, guard, pair))
}

#[test]
fn an_answer_from_another_address_of_the_server() -> Result<()> {
    let from = |other| Manner {
        from: Some(SocketAddr::new(other, ntp::PORT)),
        ..Manner::default()
    };
    let (scene, _guard, pair) = pair(from, "from-address")?;
    let text = format!("queried {}, reply came from {}", scene.asked, scene.other);
    ensure!(pair["text"] == *text, "{pair}");
    Ok(())
}

#[test]
fn an_answer_to_another_port_as_by_a_nat() -> Result<()> {
    let to = |_| Manner {
        ports_away: 1,
        ..Manner::default()
    };
    let (scene, _guard, pair) = pair(to, "to-port")?;
    let port = |end: &str| -> Result<u16> {
        let end: SocketAddr = pair[end].as_str().context("no end")?.parse()?;
        Ok(end.port())
    };
    ensure!(
        port("answered_to")? == port("asked_from")?.wrapping_add(1),
        "{pair}"
    );
    ensure!(pair["asked"] == format!("{}:123", scene.asked), "{pair}");
    Ok(())
}

#[test]
fn an_answer_with_a_rounded_timestamp() -> Result<()> {
    // As by arithmetic in 64-bit floating point.
    let rounded = |_| Manner {
        origin: |transmit| transmit & !0x3ff,
        ..Manner::default()
    };
    let (scene, guard, pair) = pair(rounded, "rounded")?;
    ensure!(
        pair["answered_from"] == format!("{}:123", scene.asked),
        "{pair}"
    );
    scene.shows(&guard, "origin")
}
