//! Interfaces that cannot be guarded: the start fails, says why, and changes nothing.

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    guard::Builder,
    link::Port,
    namespace::Namespace,
    switch::{Host, Switch},
    tun::Tun,
};
use serde_json::Value;

use super::{Target, Wire, config, ensure_attached, guard, links_of, xdp_on};

/// Starts a guard that must fail, and gives what it said. Nothing of it may be left.
fn refusal(builder: Builder) -> Result<String> {
    let mut guard = builder.start()?;
    let status = guard.wait_end()?;
    let said = guard.stderr();
    ensure!(status.code() == Some(1), "{status}: {said}");
    let pins = guard.home().pin_dir();
    ensure!(!pins.exists(), "{} was left: {said}", pins.display());
    let links = links_of(guard.home())?;
    ensure!(links.is_empty(), "{links:?}");
    Ok(said)
}

fn ensure_says(said: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(said.contains(word), "no {word:?} in: {said}");
    }
    Ok(())
}

#[test]
fn a_link_type_that_nobody_knows_is_refused() -> Result<()> {
    let namespace = Namespace::new("strange")?;
    let strange = Tun::strange(&namespace)?;
    let name = &strange.port.interface;
    let said = refusal(guard(&namespace, &[name], &config()?))?;
    ensure_says(&said, &[name, "link type 805", "Ethernet", "bare IP"])
}

#[test]
fn an_interface_that_is_not_there_is_refused() -> Result<()> {
    let namespace = Namespace::new("host")?;
    let said = refusal(guard(&namespace, &["nowhere0"], &config()?))?;
    ensure_says(&said, &["nowhere0", "ip link"])
}

#[test]
fn without_a_default_route_an_interface_must_be_named() -> Result<()> {
    let namespace = Namespace::new("host")?;
    let said = refusal(guard(&namespace, &[], &config()?))?;
    ensure_says(&said, &["no default route", "-i"])
}

#[test]
fn native_is_refused_where_the_driver_has_none() -> Result<()> {
    let namespace = Namespace::new("host")?;
    namespace.ip(&["link", "add", "br0", "type", "bridge"])?;
    let config = config()?;
    let said = refusal(guard(&namespace, &["br0"], &config).args(["--attach", "native"]))?;
    ensure_says(&said, &["br0", "native", "driver"])?;
    ensure!(!said.contains("generic"), "{said}");
    ensure!(
        xdp_on(&namespace, "br0")?.is_none(),
        "a program was left on br0"
    );
    Ok(())
}

fn occupant(port: &Port) -> Result<Value> {
    let shown = xdp_on(&port.namespace, &port.interface)?.context("bpftool net shows no XDP")?;
    Ok(shown["id"].clone())
}

fn two_hosts() -> Result<(Switch, Host, Host)> {
    let switch = Switch::new()?;
    let (host, other) = (switch.host("host", 1)?, switch.host("other", 2)?);
    Ok((switch, host, other))
}

#[test]
fn a_program_on_somebody_elses_link_is_named_and_left() -> Result<()> {
    let (_switch, host, other) = two_hosts()?;
    let interface = &host.port.interface;
    let config = config()?;
    // Another guard's, with pins of its own: as foreign as any.
    let first = guard(&host.namespace, &[interface], &config).ready()?;
    let id = occupant(&host.port)?;
    for attach in ["native", "generic"] {
        let second = guard(&host.namespace, &[interface], &config).args(["--attach", attach]);
        let said = refusal(second)?;
        ensure_says(
            &said,
            &[interface, "ingress", &format!("id {id}"), "bpftool net"],
        )?;
        ensure!(
            occupant(&host.port)? == id,
            "another program took its place"
        );
    }
    ensure_attached(&first, &host.port, "native")?;
    let mut wire = Wire::new(&other.port, &host.port)?;
    Target::of(&host)?.ensure_only_listed_arrive(&mut wire, first.home())
}

#[test]
fn a_program_without_a_link_is_named_and_left() -> Result<()> {
    let (_switch, host, other) = two_hosts()?;
    let config = config()?;
    // The only program at hand is another guard's; `bpftool net` attaches it without a link.
    let elsewhere = guard(&other.namespace, &[&other.port.interface], &config).ready()?;
    let program = elsewhere.home().pin_dir().join("programs/ingress");
    let program = program.to_str().context("a path that is no text")?;
    let interface = host.port.interface.as_str();
    for (kind, mode) in [("xdpdrv", "driver"), ("xdpgeneric", "generic")] {
        let attach = [
            "bpftool", "net", "attach", kind, "pinned", program, "dev", interface,
        ];
        host.namespace.run(&attach)?;
        let id = occupant(&host.port)?;
        let refused = guard(&host.namespace, &[interface], &config).args(["--attach", "generic"]);
        let said = refusal(refused)?;
        ensure_says(
            &said,
            &[interface, "ingress", &format!("id {id}"), "xdp off"],
        )?;
        let shown = xdp_on(&host.namespace, interface)?.context("it is gone")?;
        ensure!(shown["id"] == id && shown["mode"] == mode, "{shown}");
        host.namespace
            .run(&["bpftool", "net", "detach", kind, "dev", interface])?;
    }
    guard(&host.namespace, &[interface], &config)
        .ready()
        .map(drop)
}

#[test]
fn where_one_interface_is_refused_none_is_guarded() -> Result<()> {
    let (_switch, host, _other) = two_hosts()?;
    let strange = Tun::strange(&host.namespace)?;
    let config = config()?;
    let free = host.port.interface.as_str();
    host.namespace
        .ip(&["link", "add", "br0", "type", "bridge"])?;
    let with_strange = guard(&host.namespace, &[free, &strange.port.interface], &config);
    refusal(with_strange)?;
    // This one is refused only after the first was attached.
    let with_bridge = guard(&host.namespace, &[free, "br0"], &config).args(["--attach", "native"]);
    refusal(with_bridge)?;
    ensure!(
        xdp_on(&host.namespace, free)?.is_none(),
        "a program was left on {free}"
    );
    Ok(())
}
