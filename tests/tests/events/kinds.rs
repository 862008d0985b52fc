//! What is told of each kind of packet, on each hook.

use anyhow::{Context as _, Result, ensure};
use ntpguard_common::{
    reason::Reason,
    wire::{ntp, packet::MAX_TAGS},
};
use ntpguard_tests::packets::{
    frame,
    ntp::{Message, monlist_request},
};
use serde_json::{Value, json};

use super::scene::{CLIENTS, OTHER_PORT, STRANGERS, Scene, Viewer};

/// A packet and what is to be told of it.
struct Kind {
    frame: Vec<u8>,
    expected: Value,
}

fn kinds(scene: &Scene) -> Result<Vec<Kind>> {
    let interface = scene.lab.inside.port.interface.as_str();
    let mut kinds = Vec::new();
    for (place, to) in scene.lab.inside.addresses().into_iter().enumerate() {
        let mut add = |from: &str, frame, reason: Reason, more: Value| -> Result<()> {
            let mut expected = json!({
                "verdict": if reason.admits() { "admitted" } else { "dropped" },
                "reason": reason.name(),
                "interface": interface,
                "source": from,
                "destination": to,
            });
            let more = more.as_object().context("no object")?.clone();
            expected.as_object_mut().context("no object")?.extend(more);
            kinds.push(Kind { frame, expected });
            Ok(())
        };
        let (stranger, client) = (STRANGERS[place], CLIENTS[place]);
        let datagram = |length: usize, version: u8, mode: u8| {
            json!({
                "source_port": OTHER_PORT, "destination_port": ntp::PORT,
                "length": length, "version": version, "mode": mode,
            })
        };
        let request = Message::request(1).to_vec();
        let frame = scene.frame(stranger, OTHER_PORT, &request)?;
        add(stranger, frame, Reason::Unlisted, datagram(48, 4, 3))?;
        let frame = scene.frame(client, OTHER_PORT, &request)?;
        add(client, frame, Reason::Client, datagram(48, 4, 3))?;
        let frame = scene.frame(stranger, OTHER_PORT, &monlist_request())?;
        add(stranger, frame, Reason::Private, datagram(48, 2, 7))?;
        let tagged = scene.wrap(
            &scene.packet(stranger, OTHER_PORT, &Message::new(0, 3).to_vec())?,
            &[(0x8100, 0)],
        );
        add(stranger, tagged, Reason::Version, datagram(48, 0, 3))?;

        // What is wrong in itself is told as far as it can be read.
        let mut lying = scene.packet(stranger, OTHER_PORT, &request)?;
        let udp_length = lying.len() - request.len() - 4;
        lying[udp_length..udp_length + 2].copy_from_slice(&20_u16.to_be_bytes());
        let lying = scene.wrap(&lying, &[]);
        add(stranger, lying, Reason::Length, datagram(12, 4, 3))?;
        let nothing = scene.frame(stranger, OTHER_PORT, &[])?;
        let empty = json!({
            "source_port": OTHER_PORT, "length": 0, "version": null, "mode": null,
        });
        add(stranger, nothing, Reason::Length, empty)?;
        let from = std::net::SocketAddr::new(stranger.parse()?, OTHER_PORT);
        let to = std::net::SocketAddr::new(to, ntp::PORT);
        let first = frame::udp_fragments(from, to, &request, 24)?.swap_remove(0);
        let first = scene.wrap(&first, &[]);
        add(stranger, first, Reason::Fragment, datagram(48, 4, 3))?;
    }
    let [v4, v6] = STRANGERS;
    let no_ports = |from: &str, reason: Reason| {
        json!({
            "verdict": "dropped", "reason": reason.name(), "source": from,
            "source_port": null, "length": null, "version": null,
        })
    };
    // Destination options where the UDP header is, which say they are longer than the packet.
    let mut chain = scene.packet(v6, ntp::PORT, &Message::new(4, 4).to_vec())?;
    chain[6] = 60;
    kinds.push(Kind {
        frame: scene.wrap(&chain, &[]),
        expected: no_ports(v6, Reason::HeaderChain),
    });
    // A UDP header that is cut off.
    let cut = scene.packet(v4, ntp::PORT, &[])?;
    let cut = scene.wrap(&cut[..cut.len() - 1], &[]);
    kinds.push(Kind {
        frame: cut,
        expected: no_ports(v4, Reason::Malformed),
    });
    // Nobody knows what comes behind so many tags, of which the network stack takes one off.
    let tags = [(0x8100, 0); MAX_TAGS + 2];
    kinds.push(Kind {
        frame: scene.wrap(&scene.packet(v4, ntp::PORT, &[])?, &tags),
        expected: json!({
            "verdict": "dropped", "reason": Reason::HeaderChain.name(), "interface": interface,
            "source": null, "destination": null, "length": null,
        }),
    });
    Ok(kinds)
}

/// Whether an event says all of this.
fn says(event: &Value, expected: &Value) -> bool {
    let fields = expected.as_object().into_iter().flatten();
    fields
        .into_iter()
        .all(|(name, value)| event[name] == *value)
}

fn each_kind_is_told(attach: &str) -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard(&["--attach", attach])?;
    let viewer = Viewer::of(&guard, &[])?;
    for kind in kinds(&scene)? {
        let told = viewer.sees(&scene, &kind.frame, |event| says(event, &kind.expected));
        let told = told.with_context(|| format!("{attach}: {}", kind.expected))?;
        ensure!(told["schema"] == 1, "{told}");
        let time = told["time"].as_str().unwrap_or_default();
        ensure!(time.len() == 24 && time.ends_with('Z'), "{told}");
    }
    Ok(())
}

#[test]
fn each_kind_is_told_by_native_xdp() -> Result<()> {
    each_kind_is_told("native")
}

#[test]
fn each_kind_is_told_by_generic_xdp() -> Result<()> {
    each_kind_is_told("generic")
}

#[test]
fn each_kind_is_told_on_tc() -> Result<()> {
    each_kind_is_told("tc")
}

#[test]
fn monitor_mode_drops_nothing_and_tells_everything() -> Result<()> {
    let scene = Scene::new()?;
    let guard = scene.guard(&["--mode", "monitor"])?;
    let viewer = Viewer::of(&guard, &[])?;
    let frames = scene.of_many_reasons()?;
    for (frame, reason) in &frames {
        let verdict = if reason.admits() {
            "admitted"
        } else {
            "would drop"
        };
        let told = json!({"reason": reason.name(), "verdict": verdict});
        viewer.sees(&scene, frame, |event| says(event, &told))?;
        let counted = || Ok(guard.counters()?.monitored(*reason));
        viewer.accounts_for(&scene, frame, *reason, counted)?;
    }
    let counts = guard.counters()?;
    let judged: u64 = counts.monitored.values().sum();
    ensure!(counts.enforced.values().sum::<u64>() == 0, "{counts:?}");
    // All of it arrives.
    scene.lab.sink.wait_for(judged, super::scene::SOON)?;
    let top = guard.json(&["top", "--json"])?;
    let senders = top["senders"].as_array().context("no senders")?;
    ensure!(
        !senders.is_empty() && senders.iter().all(|one| one["verdict"] == "would drop"),
        "{top}"
    );
    let shown = guard.cli(&["status"])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(
        shown.contains("monitoring: nothing is dropped") && shown.contains("would drop"),
        "{shown}"
    );
    Ok(())
}
