//! Requests of containers and guests: what can be told of their senders, and what is said where nothing can.

use std::{ffi::OsStr, process::Command};

use anyhow::{Result, ensure};
use ntpguard_tests::{cgroup::Cgroup, daemons::ntpdig, namespace::Namespace, process};

use super::{
    scene::Scene,
    unseen::{unit, wait_problem},
};

const IP_FORWARD: &str = "net/ipv4/ip_forward";

#[test]
fn forwarding_that_is_switched_on_later_is_found_and_its_end_as_well() -> Result<()> {
    let scene = Scene::new()?;
    let said = "this host forwards IPv4";
    wait_problem(scene.guard(), said, false)?;
    scene.host().namespace.set(IP_FORWARD, "1")?;
    wait_problem(scene.guard(), said, true)?;
    scene.host().namespace.set(IP_FORWARD, "0")?;
    wait_problem(scene.guard(), said, false)
}

#[test]
fn trust_in_a_container_behind_this_hosts_routing_is_said_to_be_in_vain() -> Result<()> {
    let container = Cgroup::service()?;
    container.make()?;
    let elsewhere = Namespace::new("container")?;
    let mut sleep = Command::new("sleep");
    sleep.arg("60");
    let inside = process::Process::spawn(container.command(&elsewhere.within(&sleep)))?;
    let scene = Scene::trusting(&["--trust".as_ref(), OsStr::new(&unit(&container)?)])?;
    scene.wait_trusted(&container)?;
    let said = "does not cover forwarded packets";
    // A bridge or macvlan may be its way out, which keeps the sender.
    wait_problem(scene.guard(), said, false)?;
    scene.host().namespace.set(IP_FORWARD, "1")?;
    wait_problem(scene.guard(), said, true)?;
    drop(inside);
    wait_problem(scene.guard(), said, false)
}

/// A container in a cgroup of its own, with a network namespace that it leaves by macvlan.
struct Guest {
    cgroup: Cgroup,
    network: Namespace,
    /// What keeps it alive.
    _inside: process::Process,
}

impl Guest {
    fn behind(scene: &Scene, cgroup: Cgroup) -> Result<Self> {
        const ADDRESS: u8 = 77;
        let (host, network) = (scene.host(), Namespace::new("guest")?);
        let lower = &host.port.interface;
        let add = [
            "link", "add", "guest0", "link", lower, "type", "macvlan", "mode", "bridge",
        ];
        host.namespace.ip(&add)?;
        host.namespace
            .ip(&["link", "set", "guest0", "netns", network.name()])?;
        let mut address = host.v4.octets();
        address[3] = ADDRESS;
        let address = format!("{}/24", std::net::Ipv4Addr::from(address));
        network.ip(&["address", "add", &address, "dev", "guest0"])?;
        network.ip(&["link", "set", "guest0", "up"])?;
        let mut sleep = Command::new("sleep");
        sleep.arg("60");
        Ok(Self {
            _inside: process::Process::spawn(cgroup.command(&network.within(&sleep)))?,
            cgroup,
            network,
        })
    }

    /// Whether a server answers it.
    fn is_answered(&self, scene: &Scene) -> Result<bool> {
        let asking = ntpdig::command(&[scene.server().to_string()], 1)?;
        let asking = self.cgroup.command(&self.network.within(&asking));
        let output = process::output(asking, process::COMMAND_LIMIT)?;
        Ok(output.status.success())
    }
}

#[test]
fn a_guest_by_macvlan_is_told_by_its_cgroup_with_a_cure_that_works() -> Result<()> {
    let container = Cgroup::service()?;
    container.make()?;
    let path = container.path().to_owned();
    let scene = Scene::new()?;
    let guest = Guest::behind(&scene, container)?;
    ensure!(!guest.is_answered(&scene)?, "answered without trust");
    let status = scene.guard().json(&["status", "--json"])?;
    let row = &status["ungranted"][0];
    let unit = unit(&guest.cgroup)?;
    let is_named = row["cgroup"]
        .as_str()
        .is_some_and(|name| name.ends_with(&unit));
    ensure!(is_named && row["forwarded"] == false, "{status}");
    ensure!(row["guest"].as_str() == path.to_str(), "{status}");
    let text = scene.status()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let cure = format!("(--trust {})", path.display());
    ensure!(words.join(" ").contains(&cure), "{text}");

    let container = guest.cgroup;
    let scene = Scene::trusting(&["--trust".as_ref(), path.as_os_str()])?;
    scene.wait_trusted(&container)?;
    let guest = Guest::behind(&scene, container)?;
    ensure!(guest.is_answered(&scene)?, "no answer in spite of trust");
    Ok(())
}

#[test]
fn a_process_of_this_hosts_network_is_no_guest() -> Result<()> {
    let service = Cgroup::service()?;
    service.make()?;
    let scene = Scene::new()?;
    let namespace = &scene.host().namespace;
    let mut sleep = Command::new("sleep");
    sleep.arg("60");
    let _inside = process::Process::spawn(service.command(&namespace.within(&sleep)))?;
    let asking = ntpdig::command(&[scene.server().to_string()], 1)?;
    process::output(
        service.command(&namespace.within(&asking)),
        process::COMMAND_LIMIT,
    )?;
    let status = scene.guard().json(&["status", "--json"])?;
    let row = &status["ungranted"][0];
    ensure!(
        row["cgroup"].is_string() && row["guest"].is_null(),
        "{status}"
    );
    ensure!(!scene.status()?.contains("--trust"), "{}", scene.status()?);
    Ok(())
}
