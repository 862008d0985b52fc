//! What a daemon's configuration says of others than its servers: `restrict` and `peer` lines.

use anyhow::{Result, ensure};
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::lab::Lab;

use super::{NAMED, STRANGER, STRANGER_V6, may_be, with_config};

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
