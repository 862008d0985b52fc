//! What `status` says of servers that answer wrongly.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use ntpguard_tests::{
    config::ConfigFile,
    daemons::{
        Setup,
        chrony::Chronyd,
        ntpsec::{self, Ntpd},
        responder::Manner,
    },
    guard::Guard,
    switch::Switch,
};

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

/// What ntpq asks of other hosts is theirs to answer, and this host's to hear.
#[test]
fn ntpq_to_another_host_needs_the_role_control_and_status_says_so() -> Result<()> {
    let switch = Switch::new()?;
    let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
    let config = format!("tos orphan 5 orphanwait 1\nrestrict {}\n", client.v4);
    let _ntpd = Ntpd::start(&server.namespace, &config, None)?;
    let asked = IpAddr::from(server.v4);
    ntpsec::query(&client.namespace, asked)?;
    let source = ConfigFile::ntp("")?;
    let guard = Guard::builder(&client.namespace)
        .interface(&client.port.interface)
        .source(source.path())
        .ready()?;
    let unheard = ntpsec::query(&client.namespace, asked);
    ensure!(unheard.is_err(), "{unheard:?}");
    let status = guard.json(&["status", "--json"])?;
    let rows = status["ungranted"].as_array().context("no rows")?;
    let row = rows.iter().find(|row| row["address"] == *asked.to_string());
    let row = row.with_context(|| format!("no row of {asked}: {status}"))?;
    ensure!(row["needs"] == "control", "{row}");
    let cure = format!("ntpguard allowlist add {asked} --role control");
    ensure!(row["hint"] == *cure, "{row}");
    let text = String::from_utf8(guard.cli(&["status"])?.stdout)?;
    ensure!(text.contains(&format!("`{cure}`")), "{text}");
    let done = guard.cli(&["allowlist", "add", &asked.to_string(), "--role", "control"])?;
    ensure!(done.status.success(), "{done:?}");
    ntpsec::query(&client.namespace, asked)?;
    Ok(())
}
