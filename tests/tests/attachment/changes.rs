//! Interfaces that change under a guard, go, and come back.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    guard::Guard,
    link::{Port, Veth},
    namespace::Namespace,
    packets, process,
    wait::eventually,
};
use serde_json::Value;

use super::{SOON, Target, Wire, config, ensure_attached, guard, ingress_link, interface_status};

pub(super) const GUARDED: &str = "guarded0";
pub(super) const ADDRESSES: [&str; 2] = ["10.0.0.1", "fd00::1"];

/// Lays a cable between two hosts whose end at the first has always the same name.
pub(super) fn lay(host: &Namespace, other: &Namespace) -> Result<Veth> {
    let near = ["link", "add", GUARDED, "netns", host.name(), "type", "veth"];
    let far = ["peer", "name", "peer0", "netns", other.name()];
    process::run_program("ip", &[&near[..], &far[..]].concat())?;
    let (left, right) = (Port::find(host, GUARDED)?, Port::find(other, "peer0")?);
    left.add_address("10.0.0.1/24")?;
    left.add_address("fd00::1/64")?;
    right.add_address("10.0.0.2/24")?;
    host.ip(&["link", "set", GUARDED, "up"])?;
    other.ip(&["link", "set", "peer0", "up"])?;
    Ok(Veth { left, right })
}

pub(super) fn wait_attached(guard: &Guard, port: &Port, how: &str) -> Result<Value> {
    eventually(SOON, "the interface's being guarded", || {
        ensure_attached(guard, port, how)
    })
}

fn wait_gone(guard: &Guard, interface: &str) -> Result<Value> {
    eventually(SOON, "the interface's being missed", || {
        let status = interface_status(guard, interface)?;
        ensure!(status["attached"].is_null(), "{status}");
        Ok(status)
    })
}

#[test]
fn an_interface_that_is_made_again_is_guarded_again() -> Result<()> {
    for how in ["native", "tc"] {
        let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
        let first = lay(&host, &other)?;
        let target = Target::new(&host, ADDRESSES)?;
        let config = config()?;
        let guard = guard(&host, &[GUARDED], &config)
            .args(["--attach", how])
            .ready()?;
        ensure_attached(&guard, &first.left, how)?;
        for _ in 0..2 {
            host.ip(&["link", "delete", GUARDED])?;
            let status = wait_gone(&guard, GUARDED)?;
            let why = status["why_not_attached"].as_str().unwrap_or_default();
            ensure!(why.contains("gone"), "{status}");
            let whole = guard.json(&["status", "--json"])?;
            ensure!(whole["guarding"] == false, "{whole}");
            let text = String::from_utf8(guard.cli(&["status"])?.stdout)?;
            ensure!(text.contains("guarded0: not attached"), "{text}");

            let again = lay(&host, &other)?;
            wait_attached(&guard, &again.left, how)?;
            let mut wire = Wire::new(&again.right, &again.left)?;
            target.ensure_only_listed_arrive(&mut wire, guard.home())?;
        }
    }
    Ok(())
}

#[test]
fn of_two_interfaces_one_goes_and_the_other_stays_guarded() -> Result<()> {
    let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
    let stays = Veth::between(&host, &["10.0.1.1/24", "fd00:1::1/64"], &other, &[])?;
    lay(&host, &other)?;
    let target = Target::new(&host, ["10.0.1.1", "fd00:1::1"])?;
    let config = config()?;
    let names = [stays.left.interface.as_str(), GUARDED];
    let mut guard = guard(&host, &names, &config).ready()?;
    let link = ingress_link(guard.home(), &stays.left)?;
    host.ip(&["link", "delete", GUARDED])?;
    wait_gone(&guard, GUARDED)?;
    ensure!(
        ingress_link(guard.home(), &stays.left)? == link,
        "the other's link changed"
    );
    let mut wire = Wire::new(&stays.right, &stays.left)?;
    target.ensure_only_listed_arrive(&mut wire, guard.home())?;
    let back = lay(&host, &other)?;
    wait_attached(&guard, &back.left, "native")?;
    ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    super::ensure_gone(guard.home(), &back.left)?;
    super::ensure_gone(guard.home(), &stays.left)
}

#[test]
fn one_that_comes_back_unfit_is_told_and_guarded_as_soon_as_it_is_fit() -> Result<()> {
    let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
    lay(&host, &other)?;
    let config = config()?;
    let guard = guard(&host, &[GUARDED], &config)
        .args(["--attach", "native"])
        .ready()?;
    host.ip(&["link", "delete", GUARDED])?;
    wait_gone(&guard, GUARDED)?;
    // No bridge has native XDP.
    host.ip(&["link", "add", GUARDED, "type", "bridge"])?;
    eventually(SOON, "the reason", || {
        let status = interface_status(&guard, GUARDED)?;
        let why = status["why_not_attached"].as_str().unwrap_or_default();
        ensure!(why.contains("native") && why.contains("driver"), "{status}");
        Ok(())
    })?;
    host.ip(&["link", "delete", GUARDED])?;
    let fit = lay(&host, &other)?;
    wait_attached(&guard, &fit.left, "native").map(drop)
}

#[test]
fn a_new_name_is_followed() -> Result<()> {
    let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
    let cable = lay(&host, &other)?;
    let config = config()?;
    let guard = guard(&host, &[GUARDED], &config).ready()?;
    host.ip(&["link", "set", GUARDED, "down"])?;
    host.ip(&["link", "set", GUARDED, "name", "other0"])?;
    host.ip(&["link", "set", "other0", "up"])?;
    let renamed = Port {
        interface: "other0".to_owned(),
        ..cable.left
    };
    wait_attached(&guard, &renamed, "native").map(drop)
}

/// Whether a datagram of so many bytes arrives whole.
fn ensure_passes(cable: &Veth, length: usize) -> Result<()> {
    const PORT: u16 = 5000;
    let to = SocketAddr::new(ADDRESSES[0].parse::<IpAddr>()?, PORT);
    let from = SocketAddr::new("10.0.0.2".parse::<IpAddr>()?, PORT);
    let socket = packets::udp(&cable.left.namespace, to)?;
    socket.set_read_timeout(Some(SOON))?;
    packets::send(&cable.right.namespace, from, to, &vec![0x24; length])?;
    let received = socket.recv(&mut vec![0; length + 1]);
    let received = received.with_context(|| format!("no datagram of {length} bytes came"))?;
    ensure!(received == length, "{received} of {length} bytes came");
    Ok(())
}

#[test]
fn the_mtu_may_grow_to_9000_and_shrink_under_a_native_guard() -> Result<()> {
    let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
    let cable = lay(&host, &other)?;
    let target = Target::new(&host, ADDRESSES)?;
    let mut wire = Wire::new(&cable.right, &cable.left)?;
    let config = config()?;
    let guard = guard(&host, &[GUARDED], &config).ready()?;
    let link = ingress_link(guard.home(), &cable.left)?;
    for (mtu, length) in [("9000", 8900), ("1500", 1400)] {
        for port in [&cable.left, &cable.right] {
            let line = ["link", "set", &port.interface, "mtu", mtu];
            port.namespace.ip(&line)?;
        }
        ensure_attached(&guard, &cable.left, "native")?;
        ensure!(
            ingress_link(guard.home(), &cable.left)? == link,
            "another link"
        );
        ensure_passes(&cable, length)?;
        target
            .ensure_only_listed_arrive(&mut wire, guard.home())
            .with_context(|| format!("with an MTU of {mtu}"))?;
    }
    Ok(())
}

/// A MACVLAN device, and where the kernel has them VLANs, stand on another as a bridge does.
#[test]
fn a_device_that_stands_on_another_is_guarded_for_itself() -> Result<()> {
    let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
    let cable = Veth::between(&host, &[], &other, &[])?;
    let line = [
        "link",
        "add",
        "link",
        &cable.left.interface,
        "name",
        GUARDED,
    ];
    host.ip(&[&line[..], &["type", "macvlan", "mode", "private"]].concat())?;
    host.ip(&["link", "set", GUARDED, "up"])?;
    let upper = Port::find(&host, GUARDED)?;
    for (address, length) in ADDRESSES.into_iter().zip([24, 64]) {
        upper.add_address(&format!("{address}/{length}"))?;
    }
    let target = Target::new(&host, ADDRESSES)?;
    let mut wire = Wire::new(&cable.right, &upper)?;
    target.ensure_all_arrive(&mut wire)?;
    let config = config()?;
    let guard = guard(&host, &[GUARDED], &config).ready()?;
    ensure_attached(&guard, &upper, "tc")?;
    target.ensure_only_listed_arrive(&mut wire, guard.home())
}
