//! Interfaces that are not what they were: with another name, or as a part of something larger.

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    guard::Guard,
    link::{Port, Veth},
    namespace::Namespace,
    wait::eventually,
};

use super::{
    SOON, Target, Wire,
    changes::{ADDRESSES, GUARDED, lay, wait_attached},
    config, ensure_attached, guard,
    losses::{findings, status_text},
};

#[test]
fn an_interface_made_under_a_name_that_was_given_away_is_guarded_too() -> Result<()> {
    let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
    let first = lay(&host, &other)?;
    let config = config()?;
    let guard = guard(&host, &[GUARDED], &config).ready()?;
    host.ip(&["link", "set", GUARDED, "down"])?;
    host.ip(&["link", "set", GUARDED, "name", "lan0"])?;
    host.ip(&["address", "flush", "dev", "lan0"])?;
    other.ip(&["link", "set", "peer0", "name", "peer1"])?;
    let renamed = Port {
        interface: "lan0".to_owned(),
        ..first.left
    };
    wait_attached(&guard, &renamed, "native")?;
    let said = findings(&guard)?;
    let words = format!("{GUARDED} was renamed to lan0");
    ensure!(said.contains(&words) && said.contains("-i lan0"), "{said}");
    eventually(SOON, "a line about it", || {
        ensure!(guard.stderr().contains(&words), "{}", guard.stderr());
        Ok(())
    })?;

    let second = lay(&host, &other)?;
    wait_attached(&guard, &second.left, "native")?;
    ensure_attached(&guard, &renamed, "native")?;
    let target = Target::new(&host, ADDRESSES)?;
    let mut wire = Wire::new(&second.right, &second.left)?;
    target.ensure_only_listed_arrive(&mut wire, guard.home())
}

/// A host with two cables, the first of which is guarded.
struct TwoCables {
    host: Namespace,
    _other: Namespace,
    first: String,
    second: String,
}

impl TwoCables {
    fn new() -> Result<Self> {
        let (host, other) = (Namespace::new("host")?, Namespace::new("other")?);
        let first = Veth::between(&host, &[], &other, &[])?;
        let second = Veth::between(&host, &[], &other, &[])?;
        host.ip(&["link", "add", "br0", "type", "bridge"])?;
        Ok(Self {
            first: first.left.interface,
            second: second.left.interface,
            host,
            _other: other,
        })
    }

    fn enslave(&self) -> Result<()> {
        for port in [&self.first, &self.second] {
            self.host.ip(&["link", "set", port, "master", "br0"])?;
        }
        Ok(())
    }

    fn ensure_told(&self, guard: &Guard) -> Result<()> {
        let (first, second) = (&self.first, &self.second);
        let words = format!("{first} is a port of br0");
        let others = format!("({second})");
        eventually(SOON, "a finding", || {
            let said = findings(guard)?;
            let is_whole = said.contains(&words) && said.contains(&others);
            ensure!(is_whole && said.contains("-i br0"), "{said}");
            let logged = guard.stderr();
            ensure!(logged.contains(&words), "{logged}");
            Ok(())
        })?;
        ensure!(status_text(guard)?.contains("finding"), "no line");
        Ok(())
    }
}

#[test]
fn a_port_of_a_bridge_is_told_at_the_start() -> Result<()> {
    let cables = TwoCables::new()?;
    cables.enslave()?;
    let config = config()?;
    let guard = guard(&cables.host, &[&cables.first], &config).ready()?;
    cables.ensure_told(&guard)
}

#[test]
fn an_interface_that_is_enslaved_later_is_told_and_so_is_its_release() -> Result<()> {
    let cables = TwoCables::new()?;
    let config = config()?;
    let guard = guard(&cables.host, &[&cables.first], &config).ready()?;
    ensure!(findings(&guard)? == "[]", "{}", findings(&guard)?);
    cables.enslave()?;
    cables.ensure_told(&guard)?;
    cables
        .host
        .ip(&["link", "set", &cables.first, "nomaster"])?;
    eventually(SOON, "an end of it", || {
        ensure!(findings(&guard)? == "[]", "{}", findings(&guard)?);
        ensure!(guard.stderr().contains("resolved: "), "{}", guard.stderr());
        Ok(())
    })
}

#[test]
fn two_guarded_devices_that_become_one_stack_are_told() -> Result<()> {
    let cables = TwoCables::new()?;
    let config = config()?;
    let guard = guard(&cables.host, &[&cables.first, "br0"], &config).ready()?;
    ensure!(findings(&guard)? == "[]", "{}", findings(&guard)?);
    cables.enslave()?;
    let words = format!("{} and br0 are now two devices of one stack", cables.first);
    eventually(SOON, "a finding", || {
        let said = findings(&guard)?;
        ensure!(said.contains(&words), "{said}");
        Ok(())
    })
    .context("a bridge that is guarded, and its port")
}
