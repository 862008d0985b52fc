//! Small questions with large answers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::reason::Reason;
use ntpguard_tests::{
    daemons::{Setup, ntpsec::Ntpd},
    guard::Guard,
    packets::ntp::{Message, control_request, monlist_request},
    process,
    switch::{Host, Switch},
};

use super::scene::{Arrives, Attack, CLIENTS, SERVERS, STRANGERS, Scene, TO_NTP, all_for};

/// Of each kind, from each source.
const EACH: usize = 100;

#[test]
fn monlist_requests() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    for from in [STRANGERS, SERVERS, CLIENTS].concat() {
        let frame = scene.frame(from, TO_NTP, &monlist_request())?;
        frames.extend(vec![frame; EACH]);
    }
    scene.withstands(&Attack {
        name: "monlist requests",
        source: "CVE-2013-5211",
        frames: all_for(frames, Reason::Private),
        arrives: Arrives::All,
    })
}

#[test]
fn mode_6_requests() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    for (from, reason) in [
        (STRANGERS, Reason::Unlisted),
        (SERVERS, Reason::Role),
        (CLIENTS, Reason::Role),
    ] {
        for from in from {
            let frame = scene.frame(from, TO_NTP, &control_request())?;
            frames.extend(all_for(vec![frame; EACH], reason));
        }
    }
    scene.withstands(&Attack {
        name: "mode 6 requests",
        source: "RFC 8633, section 3.4",
        frames,
        arrives: Arrives::All,
    })
}

/// Requests in the name of a victim, which the replies would hit: only a client's own are answered.
#[test]
fn requests_in_a_victims_name() -> Result<()> {
    let scene = Scene::new()?;
    let mut frames = Vec::new();
    for (from, reason) in [(STRANGERS, Reason::Unlisted), (SERVERS, Reason::Role)] {
        for from in from {
            let frame = scene.frame(from, TO_NTP, &Message::request(1).to_vec())?;
            frames.extend(all_for(vec![frame; EACH], reason));
        }
    }
    scene.withstands(&Attack {
        name: "requests in a victim's name",
        source: "RFC 8633, section 3.5",
        frames,
        arrives: Arrives::All,
    })
}

/// What the scripts of nmap find out about a host. Its own report of an open port needs an answer.
fn nmap(from: &Host, to: &Host) -> Result<String> {
    let target = to.v4.to_string();
    let line = [
        "-sU",
        "-Pn",
        "-n",
        "-p",
        "123",
        "--max-retries",
        "1",
        "--script",
        "ntp-info,ntp-monlist",
        &target,
    ];
    let mut command = from.namespace.command("nmap");
    command.args(line);
    let output = process::output(command, Duration::from_secs(60))
        .context("nmap is in the packages that `cargo xtask setup` installs")?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn nmaps_ntp_info_and_ntp_monlist_find_nothing() -> Result<()> {
    let switch = Switch::new()?;
    let (server, scanner) = (switch.host("server", 1)?, switch.host("scanner", 2)?);
    // Whoever asks may read everything.
    let setup = Setup::new("tos orphan 5 orphanwait 1\n", None)?;
    let source = setup.config();
    let _ntpd = Ntpd::start_in(&server.namespace, setup)?;
    let found = nmap(&scanner, &server)?;
    ensure!(
        found.contains("ntp-info") && found.contains("123/udp open "),
        "nmap finds nothing where there is no guard:\n{found}"
    );
    let guard = Guard::builder(&server.namespace)
        .interface(&server.port.interface)
        .source(&source)
        .ready()?;
    let found = nmap(&scanner, &server)?;
    let counts = guard.counters()?;
    eprintln!(
        "nmap's ntp-info and ntp-monlist: unlisted {}, private {}",
        counts.enforced(Reason::Unlisted),
        counts.enforced(Reason::Private)
    );
    ensure!(
        !found.contains("ntp-info") && !found.contains("ntp-monlist"),
        "nmap found:\n{found}"
    );
    ensure!(found.contains("open|filtered"), "{found}");
    let dropped = counts.enforced(Reason::Unlisted) + counts.enforced(Reason::Private);
    ensure!(dropped > 0, "nmap sent nothing: {counts:?}");
    Ok(())
}
