//! One interface, of each kind.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    bpftool,
    link::{Options, Port, Veth},
    namespace::Namespace,
    packets::{self, frame},
    switch::Switch,
    tun::Tun,
};

use super::{LISTED, SOON, Target, Way, Wire, config, ensure_attached, guard};

const ADDRESSES: [&str; 2] = ["10.0.0.1", "fd00::1"];

#[test]
fn each_way_of_attaching_is_told_and_filters() -> Result<()> {
    for (asked, how) in [
        ("native", "native"),
        ("generic", "generic"),
        ("tc", "tc"),
        ("auto", "native"),
    ] {
        let switch = Switch::new()?;
        let (host, other) = (switch.host("host", 1)?, switch.host("other", 2)?);
        let target = Target::of(&host)?;
        let mut wire = Wire::new(&other.port, &host.port)?;
        target.ensure_all_arrive(&mut wire)?;
        let config = config()?;
        let guard = guard(&host.namespace, &[&host.port.interface], &config)
            .args(["--attach", asked])
            .ready()?;
        let status = ensure_attached(&guard, &host.port, how)?;
        let why = &status["why_not_better"];
        ensure!(why.is_null() == (how == "native"), "{asked}: {status}");
        target
            .ensure_only_listed_arrive(&mut wire, guard.home())
            .with_context(|| format!("attached {asked}"))?;
    }
    Ok(())
}

/// A host whose interface is a bridge, and a neighbour behind one of its ports. No bridge has native XDP.
fn bridged() -> Result<(Port, Veth)> {
    let (host, other) = (Namespace::new("bridged")?, Namespace::new("other")?);
    host.ip(&[
        "link",
        "add",
        "br0",
        "type",
        "bridge",
        "mcast_snooping",
        "0",
    ])?;
    let cable = Veth::between(&other, &[], &host, &[])?;
    host.ip(&["link", "set", &cable.right.interface, "master", "br0"])?;
    host.ip(&["link", "set", "br0", "up"])?;
    let bridge = Port::find(&host, "br0")?;
    for (address, length) in ADDRESSES.into_iter().zip([24, 64]) {
        bridge.add_address(&format!("{address}/{length}"))?;
    }
    Ok((bridge, cable))
}

#[test]
fn where_native_is_impossible_auto_takes_tc_and_says_why() -> Result<()> {
    let (bridge, cable) = bridged()?;
    let target = Target::new(&bridge.namespace, ADDRESSES)?;
    let mut wire = Wire::new(&cable.left, &bridge)?;
    target.ensure_all_arrive(&mut wire)?;
    let config = config()?;
    let guard = guard(&bridge.namespace, &["br0"], &config).ready()?;
    let status = ensure_attached(&guard, &bridge, "tc")?;
    let why = status["why_not_better"].as_str().unwrap_or_default();
    ensure!(why.contains("native") && why.contains("driver"), "{status}");
    let text = String::from_utf8(guard.cli(&["status"])?.stdout)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    ensure!(
        text.contains("br0: tc") && words.join(" ").contains(why),
        "{text}"
    );
    target.ensure_only_listed_arrive(&mut wire, guard.home())
}

#[test]
fn jumbo_frames_are_guarded_natively_and_pass_whole() -> Result<()> {
    const PORT: u16 = 5000;
    // With the headers, just below the MTU.
    let payload = vec![0x24; 8900];
    let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
    let options = Options {
        mtu: Some(9000),
        ..Options::default()
    };
    let cable = Veth::with(
        options,
        &host,
        &["10.0.0.1/24", "fd00::1/64"],
        &other,
        &["10.0.0.2/24", "fd00::2/64"],
    )?;
    let target = Target::new(&host, ADDRESSES)?;
    let mut wire = Wire::new(&cable.right, &cable.left)?;
    let config = config()?;
    let guard = guard(&host, &[&cable.left.interface], &config).ready()?;
    ensure_attached(&guard, &cable.left, "native")?;
    target.ensure_only_listed_arrive(&mut wire, guard.home())?;
    for (to, from) in ADDRESSES.into_iter().zip(["10.0.0.2", "fd00::2"]) {
        let (to, from): (IpAddr, IpAddr) = (to.parse()?, from.parse()?);
        let socket = packets::udp(&host, SocketAddr::new(to, PORT))?;
        socket.set_read_timeout(Some(SOON))?;
        packets::send(
            &other,
            SocketAddr::new(from, PORT),
            SocketAddr::new(to, PORT),
            &payload,
        )?;
        let mut received = vec![0; 10_000];
        let len = socket
            .recv(&mut received)
            .context("no jumbo datagram came")?;
        ensure!(
            received.get(..len) == Some(&payload[..]),
            "{len} other bytes came"
        );
        // The same to port 123: a stranger's does not pass, a listed server's does.
        let listed: IpAddr = LISTED[usize::from(to.is_ipv6())].parse()?;
        let before = target.sink.count_from(listed);
        for source in [from, listed] {
            let (source, to) = (SocketAddr::new(source, 123), SocketAddr::new(to, 123));
            wire.send(&frame::udp(source, to, &payload)?)?;
        }
        ntpguard_tests::wait::eventually(SOON, "a listed server's jumbo frame", || {
            let count = target.sink.count_from(listed);
            ensure!(count == before + 1, "{count}");
            Ok(())
        })?;
        ensure!(
            target.sink.count_from(from) == 0,
            "a stranger's jumbo frame got through"
        );
    }
    Ok(())
}

#[test]
fn a_tun_device_without_ethernet_headers_is_guarded() -> Result<()> {
    for (attach, how, kind) in [("auto", "tc", "sched_cls"), ("generic", "generic", "xdp")] {
        let namespace = Namespace::new("tun")?;
        let mut tun = Tun::raw_ip(&namespace, &["10.0.0.1/24", "fd00::1/64"])?;
        let port = tun.port.clone();
        let target = Target::new(&namespace, ADDRESSES)?;
        target.ensure_all_arrive(&mut tun)?;
        let config = config()?;
        let guard = guard(&namespace, &[&port.interface], &config)
            .args(["--attach", attach])
            .ready()?;
        ensure_attached(&guard, &port, how)?;
        let program = guard.home().pin_dir().join("programs/ingress-raw");
        ensure!(
            bpftool::prog_show(&program)?["type"] == kind,
            "no program for bare IP"
        );
        target.ensure_only_listed_arrive(&mut tun, guard.home())?;
    }
    Ok(())
}
