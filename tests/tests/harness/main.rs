//! The harness itself: what the suites stand on does what it says.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    bpffs::PinDir,
    bpftool,
    link::{Options, Veth},
    namespace::Namespace,
    process,
    switch::{Host, Switch},
    wait::eventually,
};

mod cgroups;
mod daemons;
mod dns;
mod packets;
mod places;

const SOON: Duration = Duration::from_secs(5);

/// A source that no host of a test has.
const FORGED: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

fn pair() -> Result<(Switch, Host, Host)> {
    let switch = Switch::new()?;
    let (server, client) = (switch.host("server", 1)?, switch.host("client", 2)?);
    Ok((switch, server, client))
}

fn namespaces() -> Result<String> {
    process::run_program("ip", &["netns", "list"])
}

#[test]
fn hosts_on_a_switch_reach_each_other_over_both_families() -> Result<()> {
    let (_switch, server, client) = pair()?;
    for address in server.addresses() {
        client
            .namespace
            .run(&["ping", "-c", "1", "-W", "2", &address.to_string()])?;
    }
    Ok(())
}

#[test]
fn a_cable_has_the_mtu_and_the_offload_it_was_asked_for() -> Result<()> {
    let (a, b) = (Namespace::new("a")?, Namespace::new("b")?);
    let options = Options {
        mtu: Some(9000),
        gro: true,
    };
    let cable = Veth::with(options, &a, &["10.0.0.1/24"], &b, &["10.0.0.2/24"])?;
    // Unfragmented, this only fits a jumbo frame.
    a.run(&[
        "ping", "-c", "1", "-W", "2", "-M", "do", "-s", "8900", "10.0.0.2",
    ])?;
    let features = b.run(&["ethtool", "--show-features", &cable.right.interface])?;
    ensure!(
        features.contains("generic-receive-offload: on"),
        "{features}"
    );
    Ok(())
}

#[test]
fn namespaces_and_what_runs_in_them_are_gone_after_a_drop() -> Result<()> {
    let namespace = Namespace::new("gone")?;
    let name = namespace.name().to_owned();
    // Escapes its process group, as a daemon would.
    namespace.run(&["sh", "-c", "setsid sleep 61 >/dev/null 2>&1 &"])?;
    let pids = process::run_program("ip", &["netns", "pids", &name])?;
    let pid: u32 = pids
        .trim()
        .parse()
        .with_context(|| format!("one process, not {pids}"))?;
    ensure!(namespaces()?.contains(&name), "no namespace {name}");
    drop(namespace);
    ensure!(!namespaces()?.contains(&name), "{name} is still there");
    eventually(SOON, "the end of what ran there", || {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        ensure!(!command.contains("sleep"), "{command} still runs");
        Ok(())
    })
}

#[test]
fn a_panic_leaves_no_namespace_behind() -> Result<()> {
    let panicked = std::thread::spawn(|| {
        let namespace = Namespace::new("panic").unwrap();
        std::panic::panic_any(namespace.name().to_owned());
    });
    let name = panicked.join().expect_err("it panics");
    let name = name.downcast::<String>().expect("the namespace's name");
    ensure!(
        !namespaces()?.contains(name.as_str()),
        "{name} is still there"
    );
    Ok(())
}

#[test]
fn pins_go_with_their_directory() -> Result<()> {
    let pins = PinDir::new()?;
    let (directory, pin) = (pins.path().to_owned(), pins.path().join("MAP"));
    let mut create = Command::new("bpftool");
    create.args(["map", "create"]).arg(&pin);
    create.args([
        "type", "array", "key", "4", "value", "8", "entries", "1", "name", "harness",
    ]);
    process::run(create)?;
    ensure!(bpftool::map_show(&pin)?["name"] == "harness", "no such map");
    // Without BTF there are no field names: that is an error, not an empty list.
    ensure!(
        bpftool::map_dump(&pin).is_err(),
        "a map without BTF was dumped by name"
    );
    drop(pins);
    ensure!(
        !directory.exists(),
        "{} is still there",
        directory.display()
    );
    Ok(())
}

#[test]
fn leftovers_of_a_killed_run_are_swept() -> Result<()> {
    // A process id beyond the kernel's greatest, as of a process that no longer lives.
    let own = std::process::id();
    let leftover = format!("ng-99999999-{own}-left");
    let pins = format!("/sys/fs/bpf/ng-test-99999999-{own}");
    process::run_program("ip", &["netns", "add", &leftover])?;
    // bpffs is surely mounted once a directory of ours was in it.
    drop(PinDir::new()?);
    std::fs::create_dir_all(&pins)?;
    let mut again = Command::new(std::env::current_exe()?);
    again.args(["--exact", "a_panic_leaves_no_namespace_behind"]);
    process::run(again)?;
    ensure!(
        !namespaces()?.contains(&leftover),
        "{leftover} is still there"
    );
    ensure!(
        !std::path::Path::new(&pins).exists(),
        "{pins} is still there"
    );
    Ok(())
}
