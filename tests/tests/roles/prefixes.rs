//! Prefixes within prefixes, and what an address in several of them may be.

use std::sync::Arc;

use anyhow::Result;
use ntpguard_common::maps::tables::Role;
use ntpguard_tests::lab::Lab;

use super::{edit, may_be, with_config};

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
