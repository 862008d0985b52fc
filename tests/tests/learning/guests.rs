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
    let said = "trusts nothing that this host forwards";
    // A bridge or macvlan may be its way out, which keeps the sender.
    wait_problem(scene.guard(), said, false)?;
    scene.host().namespace.set(IP_FORWARD, "1")?;
    wait_problem(scene.guard(), said, true)?;
    drop(inside);
    wait_problem(scene.guard(), said, false)
}

#[test]
fn a_guest_by_macvlan_is_told_by_its_cgroup() -> Result<()> {
    const ADDRESS: u8 = 77;
    let container = Cgroup::service()?;
    container.make()?;
    let scene = Scene::new()?;
    let (host, guest) = (scene.host(), Namespace::new("guest")?);
    let lower = &host.port.interface;
    let add = [
        "link", "add", "guest0", "link", lower, "type", "macvlan", "mode", "bridge",
    ];
    host.namespace.ip(&add)?;
    host.namespace
        .ip(&["link", "set", "guest0", "netns", guest.name()])?;
    let mut address = host.v4.octets();
    address[3] = ADDRESS;
    let address = format!("{}/24", std::net::Ipv4Addr::from(address));
    guest.ip(&["address", "add", &address, "dev", "guest0"])?;
    guest.ip(&["link", "set", "guest0", "up"])?;

    let ask = || -> Result<bool> {
        let asking = ntpdig::command(&[scene.server().to_string()], 1)?;
        let asking = container.command(&guest.within(&asking));
        Ok(process::output(asking, process::COMMAND_LIMIT)?
            .status
            .success())
    };
    ensure!(!ask()?, "answered without trust");
    let status = scene.guard().json(&["status", "--json"])?;
    let row = &status["ungranted"][0];
    let is_named = row["cgroup"]
        .as_str()
        .is_some_and(|name| name.ends_with(&*unit(&container).unwrap_or_default()));
    ensure!(is_named && row["forwarded"] == false, "{status}");
    Ok(())
}
