//! What `status` says of servers that answer wrongly.

use anyhow::{Context as _, Result, ensure};
use ntpguard_tests::daemons::{Setup, chrony::Chronyd, responder::Manner};

use super::scene::Scene;

/// Has a chronyd ask a server that answers so, and waits until `status` says for which reason it is not
/// heard.
fn chronyd_does_not_hear(manner: Manner, reason: &str) -> Result<Scene> {
    let scene = Scene::new(|_| manner)?;
    let config = format!("server {} iburst minpoll 0 maxpoll 0\n", scene.asked);
    let setup = Setup::new(&config, None)?;
    let guard = scene.guard(&setup, &[])?;
    let _chronyd = Chronyd::start_in(&scene.client.namespace, setup)?;
    scene.shows(&guard, reason)?;
    Ok(scene)
}

#[test]
fn another_origin_than_the_requests() -> Result<()> {
    let manner = Manner {
        origin: |transmit| transmit ^ 1 << 40,
        ..Manner::default()
    };
    chronyd_does_not_hear(manner, "origin").map(drop)
}

#[test]
fn no_origin() -> Result<()> {
    let manner = Manner {
        origin: |_| 0,
        ..Manner::default()
    };
    chronyd_does_not_hear(manner, "zero-origin").map(drop)
}

#[test]
fn another_port_than_the_one_that_asked() -> Result<()> {
    let manner = Manner {
        ports_away: 1,
        ..Manner::default()
    };
    chronyd_does_not_hear(manner, "origin").map(drop)
}

#[test]
fn a_symmetric_packet_in_the_place_of_a_reply() -> Result<()> {
    let scene = Scene::new(|_| Manner {
        mode: 2,
        ..Manner::default()
    })?;
    // From port 123, to which alone such packets go.
    let config = format!(
        "server {} iburst minpoll 0 maxpoll 0\nacquisitionport 123\n",
        scene.asked
    );
    let setup = Setup::new(&config, None)?;
    let guard = scene.guard(&setup, &[])?;
    let _chronyd = Chronyd::start_in(&scene.client.namespace, setup)?;
    scene.shows(&guard, "role (needs peer)")?;
    let server = scene.status(&guard)?;
    let hint = server["refused"][0]["hint"].as_str().context("no hint")?;
    let command = format!("`ntpguard allowlist add {} --role peer`", scene.asked);
    ensure!(hint.contains(&command), "{server}");
    Ok(())
}
