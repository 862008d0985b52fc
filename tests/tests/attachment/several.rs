//! More interfaces than one, and the one that nobody has to name.

use anyhow::{Result, ensure};
use ntpguard_tests::{link::Veth, namespace::Namespace, switch::Switch, tun::Tun};

use super::{Target, Wire, config, ensure_attached, ensure_gone, guard, xdp_on};

/// A host with two cables to a neighbour.
fn two_cables() -> Result<(Namespace, [Veth; 2])> {
    let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
    let first = Veth::between(&host, &["10.0.1.1/24", "fd00:1::1/64"], &other, &[])?;
    let second = Veth::between(&host, &["10.0.2.1/24", "fd00:2::1/64"], &other, &[])?;
    Ok((host, [first, second]))
}

const FIRST: [&str; 2] = ["10.0.1.1", "fd00:1::1"];

#[test]
fn one_guard_guards_two_interfaces_and_no_third() -> Result<()> {
    let (host, [first, second]) = two_cables()?;
    let third = Veth::between(&host, &[], &first.right.namespace, &[])?;
    let target = Target::new(&host, FIRST)?;
    let config = config()?;
    let names = [
        first.left.interface.as_str(),
        second.left.interface.as_str(),
    ];
    let mut guard = guard(&host, &names, &config).ready()?;
    for cable in [&first, &second] {
        ensure_attached(&guard, &cable.left, "native")?;
        let mut wire = Wire::new(&cable.right, &cable.left)?;
        target.ensure_only_listed_arrive(&mut wire, guard.home())?;
    }
    ensure!(
        xdp_on(&host, &third.left.interface)?.is_none(),
        "the third has a program"
    );
    target.ensure_all_arrive(&mut Wire::new(&third.right, &third.left)?)?;
    ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    ensure_gone(guard.home(), &first.left)?;
    ensure_gone(guard.home(), &second.left)
}

#[test]
fn one_guard_guards_ethernet_and_bare_ip() -> Result<()> {
    let (host, [cable, _]) = two_cables()?;
    let mut tun = Tun::raw_ip(&host, &["10.0.3.1/24", "fd00:3::1/64"])?;
    let port = tun.port.clone();
    let target = Target::new(&host, FIRST)?;
    let config = config()?;
    let names = [cable.left.interface.as_str(), port.interface.as_str()];
    let mut guard = guard(&host, &names, &config).ready()?;
    ensure_attached(&guard, &cable.left, "native")?;
    ensure_attached(&guard, &port, "tc")?;
    let mut wire = Wire::new(&cable.right, &cable.left)?;
    target.ensure_only_listed_arrive(&mut wire, guard.home())?;
    target.ensure_only_listed_arrive(&mut tun, guard.home())?;
    ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    ensure_gone(guard.home(), &cable.left)?;
    ensure_gone(guard.home(), &port)?;
    target.ensure_all_arrive(&mut tun)
}

#[test]
fn the_interface_of_the_default_route_is_guarded_where_none_is_named() -> Result<()> {
    let switch = Switch::new()?;
    let (host, other) = (switch.host("host", 1)?, switch.host("other", 2)?);
    let config = config()?;
    let via = other.v4.to_string();
    host.namespace
        .ip(&["route", "add", "default", "via", &via])?;
    let guard = guard(&host.namespace, &[], &config).ready()?;
    ensure_attached(&guard, &host.port, "native")?;
    let mut wire = Wire::new(&other.port, &host.port)?;
    Target::of(&host)?.ensure_only_listed_arrive(&mut wire, guard.home())
}
