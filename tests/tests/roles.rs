//! Who may be what: one table made of everything that vouches for an address.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use ntpguard_common::tables::Role;
use ntpguard_tests::{
    dns::DnsServer,
    guard::{Guard, Home},
    lab::Lab,
    wait::eventually,
};
use serde_json::{Value, json};

const STRANGER: &str = "203.0.113.9";
const STRANGER_V6: &str = "2001:db8:f::9";
const NAMED: &str = "192.0.2.1";

/// What Debian ships for a client (ntpsec 1.2.2, /etc/ntpsec/ntp.conf).
const DEBIAN: &str = "\
restrict default kod nomodify nopeer noquery limited
restrict 127.0.0.1
restrict ::1
";

/// What its older package of the classic ntpd shipped (ntp 4.2.8p15, /etc/ntp.conf).
const DEBIAN_CLASSIC: &str = "\
restrict -4 default kod notrap nomodify nopeer noquery limited
restrict -6 default kod notrap nomodify nopeer noquery limited
restrict 127.0.0.1
restrict ::1
restrict source notrap nomodify noquery
";

fn with_config(lab: &Lab, config: &str, more: &[&str]) -> Result<Guard> {
    let source = lab.write("ntp.conf", config)?;
    lab.guard().source(&source).args(more).ready()
}

fn edit(lab: &Lab, home: &Home, line: &[&str]) -> Result<()> {
    let output = lab.cli(home, &[&["allowlist"], line].concat())?;
    ensure!(output.status.success(), "{line:?}: {output:?}");
    Ok(())
}

/// Fails unless `address` may play exactly these parts.
fn may_be(lab: &Lab, home: &Home, address: &str, roles: &[Role]) -> Result<()> {
    for role in Role::ALL {
        if role == Role::Broadcast && address.contains(':') {
            continue;
        }
        if roles.contains(&role) {
            lab.admits(home, address, role)?;
        } else {
            lab.drops(home, address, role)?;
        }
    }
    Ok(())
}

#[test]
fn a_listed_server_in_a_client_prefix_is_both() -> Result<()> {
    let lab = Lab::new()?;
    let config = "server 192.0.2.1\nserver 2001:db8:1::1\n\
                  restrict 192.0.2.0 mask 255.255.255.0 noquery\nrestrict 2001:db8:1::/48 noquery\n";
    let guard = with_config(&lab, config, &[])?;
    for (server, neighbour) in [
        ("192.0.2.1", "192.0.2.7"),
        ("2001:db8:1::1", "2001:db8:1::7"),
    ] {
        may_be(&lab, guard.home(), server, &[Role::Server, Role::Client])?;
        may_be(&lab, guard.home(), neighbour, &[Role::Client])?;
    }
    Ok(())
}

#[test]
fn a_nested_prefix_keeps_what_covers_it_whatever_comes_and_goes() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = with_config(&lab, "", &[])?;
    let home = Arc::clone(guard.home());
    for with_daemon in [true, false] {
        if !with_daemon {
            guard.kill9()?;
        }
        edit(
            &lab,
            &home,
            &["add", "198.51.100.0/24", "--role", "control"],
        )?;
        edit(&lab, &home, &["add", "198.51.0.0/16", "--role", "client"])?;
        may_be(&lab, &home, "198.51.100.7", &[Role::Client, Role::Control])?;
        may_be(&lab, &home, "198.51.1.7", &[Role::Client])?;
        edit(&lab, &home, &["add", "198.51.100.128/25", "--role", "peer"])?;
        may_be(
            &lab,
            &home,
            "198.51.100.129",
            &[Role::Client, Role::Control, Role::Peer],
        )?;
        edit(&lab, &home, &["remove", "198.51.0.0/16"])?;
        may_be(&lab, &home, "198.51.100.7", &[Role::Control])?;
        may_be(&lab, &home, "198.51.100.129", &[Role::Control, Role::Peer])?;
        edit(&lab, &home, &["remove", "198.51.100.0/24"])?;
        may_be(&lab, &home, "198.51.100.129", &[Role::Peer])?;
        edit(&lab, &home, &["remove", "198.51.100.128/25"])?;
        may_be(&lab, &home, "198.51.100.129", &[])?;
    }
    Ok(())
}

#[test]
fn a_denial_cuts_a_hole_in_a_wider_prefix() -> Result<()> {
    let lab = Lab::new()?;
    let guard = with_config(&lab, "", &[])?;
    let home = guard.home();
    edit(
        &lab,
        home,
        &[
            "add",
            "198.51.0.0/16",
            "--role",
            "client",
            "--role",
            "control",
        ],
    )?;
    edit(
        &lab,
        home,
        &[
            "add",
            "198.51.100.0/24",
            "--role",
            "none",
            "--comment",
            "abuse",
        ],
    )?;
    edit(&lab, home, &["add", "198.51.1.1", "--role", "none"])?;
    may_be(&lab, home, "198.51.1.7", &[Role::Client, Role::Control])?;
    may_be(&lab, home, "198.51.100.7", &[])?;
    may_be(&lab, home, "198.51.1.1", &[])?;
    // What is granted within the hole stands.
    edit(&lab, home, &["add", "198.51.100.8", "--role", "client"])?;
    may_be(&lab, home, "198.51.100.8", &[Role::Client])?;
    edit(&lab, home, &["remove", "198.51.100.0/24"])?;
    may_be(&lab, home, "198.51.100.7", &[Role::Client, Role::Control])
}

/// A guard of `server time.test`, which is `NAMED`.
fn with_name(lab: &Lab) -> Result<(DnsServer, PathBuf, Guard)> {
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    dns.set_fixed("time.test", &[NAMED.parse()?]);
    let source = lab.write("ntp.conf", "server time.test\n")?;
    let guard = lab
        .guard()
        .source(&source)
        .resolver(dns.address())
        .ready()?;
    Ok((dns, source, guard))
}

fn restart(
    lab: &Lab,
    mut guard: Guard,
    dns: &DnsServer,
    source: &Path,
    kill: bool,
) -> Result<Guard> {
    if kill {
        guard.kill9()?;
    } else {
        ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    }
    lab.guard()
        .home(guard.home())
        .source(source)
        .resolver(dns.address())
        .ready()
}

#[test]
fn a_denial_by_hand_cuts_off_an_address_that_dns_names() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, source, guard) = with_name(&lab)?;
    let home = Arc::clone(guard.home());
    lab.admits(&home, NAMED, Role::Server)?;
    edit(&lab, &home, &["add", NAMED, "--role", "none"])?;
    lab.drops(&home, NAMED, Role::Server)?;
    edit(&lab, &home, &["update"])?;
    lab.drops(&home, NAMED, Role::Server)?;
    let guard = restart(&lab, guard, &dns, &source, true)?;
    lab.drops(&home, NAMED, Role::Server)?;
    let _guard = restart(&lab, guard, &dns, &source, false)?;
    lab.drops(&home, NAMED, Role::Server)?;
    edit(&lab, &home, &["remove", NAMED])?;
    lab.admits(&home, NAMED, Role::Server)
}

#[test]
fn an_edit_by_hand_survives_whatever_the_daemon_does_next() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, source, guard) = with_name(&lab)?;
    let home = Arc::clone(guard.home());
    edit(&lab, &home, &["add", "192.0.2.9"])?;
    // The same address by hand and by DNS: either may let go of it.
    edit(&lab, &home, &["add", "192.0.2.2", "--role", "client"])?;
    let stands = |what: &str| -> Result<()> {
        may_be(&lab, &home, "192.0.2.9", &[Role::Server])
            .and_then(|()| lab.admits(&home, "192.0.2.2", Role::Client))
            .map_err(|error| error.context(format!("after {what}")))
    };
    dns.set_fixed("time.test", &["192.0.2.2".parse()?]);
    edit(&lab, &home, &["update"])?;
    stands("an answer of DNS")?;
    may_be(&lab, &home, "192.0.2.2", &[Role::Server, Role::Client])?;
    fs::write(&source, "server time.test\nserver 192.0.2.4\n")?;
    eventually(Duration::from_secs(3), "a change of the source", || {
        lab.admits(&home, "192.0.2.4", Role::Server)
    })?;
    stands("a change of the source")?;
    fs::write(&source, "server 192.0.2.4\n")?;
    eventually(Duration::from_secs(3), "a change of the source", || {
        lab.drops(&home, "192.0.2.2", Role::Server)
    })?;
    stands("the end of the name")?;
    let guard = restart(&lab, guard, &dns, &source, false)?;
    stands("a restart")?;
    let _guard = restart(&lab, guard, &dns, &source, true)?;
    stands("a crash")
}

#[test]
fn an_edit_by_hand_leaves_alone_what_others_vouch_for() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, source, mut guard) = with_name(&lab)?;
    let home = Arc::clone(guard.home());
    for with_daemon in [true, false] {
        if !with_daemon {
            guard.kill9()?;
        }
        edit(
            &lab,
            &home,
            &["add", NAMED, "--role", "server", "--role", "client"],
        )?;
        may_be(&lab, &home, NAMED, &[Role::Server, Role::Client])?;
        edit(&lab, &home, &["add", "192.0.2.9"])?;
        lab.admits(&home, NAMED, Role::Server)?;
        edit(&lab, &home, &["remove", NAMED])?;
        may_be(&lab, &home, NAMED, &[Role::Server])?;
        edit(&lab, &home, &["remove", "192.0.2.9"])?;
        may_be(&lab, &home, NAMED, &[Role::Server])?;
        let listing = lab.json(&home, &["allowlist", "list", "--json"])?;
        ensure!(
            listing["rows"][0]["names"] == json!(["time.test"]),
            "{listing}"
        );
    }
    // The row that a command without a daemon left alone is still DNS's: it stays with DNS away.
    dns.set("time.test", ntpguard_tests::dns::Behaviour::ServFail);
    let _guard = lab
        .guard()
        .home(&home)
        .source(&source)
        .resolver(dns.address())
        .ready()?;
    may_be(&lab, &home, NAMED, &[Role::Server])
}

#[test]
fn restrict_lines_open_to_those_they_name_and_no_further() -> Result<()> {
    let lab = Lab::new()?;
    let config = "\
restrict default kod nomodify nopeer noquery limited
restrict 198.51.100.0 mask 255.255.255.0 nomodify noquery
restrict 198.51.0.0 mask 255.255.0.0 nomodify
restrict 198.18.0.0 mask 255.255.0.0 nomodify
restrict 198.19.0.0 mask 255.255.0.0 noserve
restrict 198.51.100.66 ignore
restrict 198.51.7.0 mask 255.255.255.0 noserve
restrict 192.0.2.5
restrict 2001:db8:1::/48 nomodify noquery
restrict 2001:db8:1:2::/64 ignore
";
    let guard = with_config(&lab, config, &[])?;
    let home = guard.home();
    may_be(&lab, home, "198.51.100.7", &[Role::Client])?;
    may_be(&lab, home, "198.18.1.7", &[Role::Client, Role::Control])?;
    // A wider prefix would let through what the narrower one forbids: queries.
    may_be(&lab, home, "198.51.1.7", &[Role::Client])?;
    may_be(&lab, home, "198.51.100.66", &[])?;
    // Nor can a narrower prefix have queries alone: what denies it the time denies both.
    may_be(&lab, home, "198.51.7.7", &[])?;
    may_be(&lab, home, "198.19.7.7", &[Role::Control])?;
    may_be(&lab, home, "192.0.2.5", &[Role::Client, Role::Control])?;
    may_be(&lab, home, "2001:db8:1::7", &[Role::Client])?;
    may_be(&lab, home, "2001:db8:1:2::7", &[])?;
    may_be(&lab, home, STRANGER, &[])?;
    may_be(&lab, home, STRANGER_V6, &[])
}

#[test]
fn debians_shipped_restrict_lines_leave_a_client_closed() -> Result<()> {
    for config in [DEBIAN, DEBIAN_CLASSIC, ""] {
        let lab = Lab::new()?;
        for stranger in [STRANGER, STRANGER_V6] {
            lab.arrives_unguarded(stranger, Role::Client)?;
        }
        let guard = with_config(&lab, &format!("server {NAMED}\n{config}"), &[])?;
        for stranger in [STRANGER, STRANGER_V6] {
            may_be(&lab, guard.home(), stranger, &[])?;
        }
        may_be(&lab, guard.home(), NAMED, &[Role::Server])?;
        lab.drops(guard.home(), "127.0.0.1", Role::Control)?;
        // It is said, with what to do about it.
        ensure!(guard.stderr().contains("--serve"), "{}", guard.stderr());
    }
    Ok(())
}

#[test]
fn serve_opens_to_everybody_what_the_configuration_leaves_open() -> Result<()> {
    for config in [DEBIAN, DEBIAN_CLASSIC] {
        let lab = Lab::new()?;
        let config = format!("server {NAMED}\n{config}restrict 198.51.100.0/24 ignore\n");
        let guard = with_config(&lab, &config, &["--serve"])?;
        for stranger in [STRANGER, STRANGER_V6] {
            may_be(&lab, guard.home(), stranger, &[Role::Client])?;
        }
        may_be(&lab, guard.home(), NAMED, &[Role::Server, Role::Client])?;
        may_be(&lab, guard.home(), "198.51.100.7", &[])?;
    }
    Ok(())
}

#[test]
fn serve_opens_nothing_that_the_configuration_forbids() -> Result<()> {
    let lab = Lab::new()?;
    let config = format!("server {NAMED}\nrestrict default ignore\n");
    let guard = with_config(&lab, &config, &["--serve"])?;
    for stranger in [STRANGER, STRANGER_V6] {
        may_be(&lab, guard.home(), stranger, &[])?;
    }
    lab.admits(guard.home(), NAMED, Role::Server)
}

#[test]
fn a_configured_peer_may_be_polled_and_poll() -> Result<()> {
    let lab = Lab::new()?;
    let guard = with_config(&lab, "peer 192.0.2.2\n", &[])?;
    may_be(&lab, guard.home(), "192.0.2.2", &[Role::Server, Role::Peer])
}

/// The address that is granted nothing but `role`.
fn address_of(role: Role) -> &'static str {
    match role {
        Role::Server => "192.0.2.11",
        Role::Peer => "192.0.2.12",
        Role::Broadcast => "192.0.2.13",
        Role::Client => "192.0.2.14",
        Role::Control => "192.0.2.15",
    }
}

fn with_one_address_a_role(lab: &Lab, mode: &str) -> Result<Guard> {
    let source = lab.write("ntp.conf", "")?;
    let guard = lab.guard().source(&source).mode(mode).ready()?;
    for role in Role::ALL {
        edit(
            lab,
            guard.home(),
            &["add", address_of(role), "--role", role.name()],
        )?;
    }
    Ok(guard)
}

#[test]
fn each_role_admits_its_own_packets_and_no_others() -> Result<()> {
    let lab = Lab::new()?;
    for packet in Role::ALL {
        lab.arrives_unguarded(STRANGER, packet)?;
    }
    let guard = with_one_address_a_role(&lab, "enforce")?;
    for granted in Role::ALL {
        for packet in Role::ALL {
            let fate = lab.fate(guard.home(), address_of(granted), packet)?;
            let expected = if granted == packet {
                granted.name()
            } else {
                "role"
            };
            ensure!(
                fate.reason.name() == expected && fate.arrived == (granted == packet),
                "{} that sends what a {} sends: {fate:?}",
                granted.name(),
                packet.name()
            );
        }
    }
    Ok(())
}

#[test]
fn monitoring_says_the_same_of_each_packet_and_passes_it() -> Result<()> {
    let lab = Lab::new()?;
    let guard = with_one_address_a_role(&lab, "monitor")?;
    for granted in Role::ALL {
        for packet in Role::ALL {
            let fate = lab.fate(guard.home(), address_of(granted), packet)?;
            let expected = if granted == packet {
                granted.name()
            } else {
                "role"
            };
            ensure!(
                fate.reason.name() == expected && fate.arrived,
                "{} that sends what a {} sends: {fate:?}",
                granted.name(),
                packet.name()
            );
        }
    }
    let status: Value = guard.json(&["status", "--json"])?;
    ensure!(
        status["monitored"]["role"] == 20 && status["enforced"]["role"] == 0,
        "{status}"
    );
    Ok(())
}
