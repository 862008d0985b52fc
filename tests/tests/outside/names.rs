//! The names that users give their processes.

use std::{
    ffi::CString,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::prctl::set_name;
use ntpguard_common::wire::ntp;
use ntpguard_tests::{guard::Guard, lab::Lab, packets::ntp::Message, wait::eventually};

/// Turns a terminal red, forges a line, and turns the direction of writing.
const NAME: &str = "\u{1b}[31m\nx\u{202e}\u{9b}A";

const SERVER: &str = "203.0.113.5";

const SOON: Duration = Duration::from_secs(10);

/// A process of this name in the guarded host's network asks a server that nothing grants.
fn ask(lab: &Lab) -> Result<()> {
    let (from, to): (IpAddr, IpAddr) = (lab.inside.v4.into(), SERVER.parse()?);
    lab.inside.namespace.enter(move || {
        set_name(&CString::new(NAME)?)?;
        let socket = UdpSocket::bind((from, 0))?;
        socket.send_to(&Message::request(1).to_vec(), (to, ntp::PORT))?;
        Ok(())
    })
}

fn is_harmless(text: &str) -> bool {
    let harms = |character: char| {
        character.is_control() && character != '\n'
            || ('\u{202a}'..='\u{202e}').contains(&character)
    };
    !text.chars().any(harms)
}

#[test]
fn a_process_name_does_nothing_to_the_terminal_of_whoever_looks() -> Result<()> {
    let lab = Lab::new()?;
    let line = [
        "route",
        "add",
        "default",
        "via",
        &lab.outside.v4.to_string(),
    ];
    lab.inside.namespace.ip(&line)?;
    let source = lab.write("ntp.conf", "server 192.0.2.1\n")?;
    let guard = Guard::builder(&lab.inside.namespace).interface(&lab.inside.port.interface);
    let guard = guard.source(&source).ready()?;
    let mut events = guard.spawn(&["events"])?;
    let status = eventually(SOON, "the request in status", || {
        ask(&lab)?;
        let status = guard.cli(&["status"])?;
        let text = String::from_utf8(status.stdout)?;
        ensure!(text.contains(SERVER), "{text:?}");
        Ok(text)
    })?;
    ensure!(status.contains("\\u{1b}[31m\\nx"), "{status:?}");
    let top = guard.cli(&["top"])?;
    let sources = guard.cli(&["sources"])?;
    let json = guard.cli(&["status", "--json"])?;
    events.ensure_running()?;
    for text in [
        status,
        String::from_utf8(top.stdout)?,
        String::from_utf8(sources.stdout)?,
        String::from_utf8(json.stdout.clone())?,
        events.stdout(),
        guard.stderr(),
    ] {
        ensure!(is_harmless(&text), "{text:?}");
    }
    let json: serde_json::Value = serde_json::from_slice(&json.stdout)?;
    let process = json["ungranted"][0]["process"].as_str();
    let process = process.context("no process in JSON")?;
    ensure!(process.starts_with("\u{1b}[31m\nx\u{202e}"), "{process:?}");
    Ok(())
}
