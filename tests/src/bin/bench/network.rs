//! Two hosts on one cable: a server outside, and inside a client and whatever filters for it.

use std::{net::IpAddr, path::PathBuf};

use anyhow::{Context as _, Result};
use ntpguard_tests::{
    daemons::{Setup, chrony::Chronyd},
    link::{Options, Port, Veth},
    namespace::Namespace,
};

use crate::{client::Client, packets};

const PREFIX_LEN: u8 = 24;
const INSIDE: &str = "10.0.0.254";

/// The hosts. The server is the first of the listed addresses.
pub(crate) struct Network {
    /// The end outside, from which the server answers.
    pub(crate) outside: Port,
    /// The end to be guarded.
    pub(crate) inside: Port,
    /// The client.
    pub(crate) client: Client,
    /// The configuration that names the listed addresses.
    pub(crate) source: PathBuf,
    /// The addresses that every filter lists.
    pub(crate) listed: Vec<IpAddr>,
    _server: Chronyd,
    _sources: tempfile::TempDir,
}

impl Network {
    /// Builds it, unfiltered, with `count` addresses to be listed in each family.
    pub(crate) fn new(count: u32) -> Result<Self> {
        let (outside, inside) = (Namespace::new("outside")?, Namespace::new("inside")?);
        let server = packets::LISTED_V4.to_string();
        // Frames that XDP sends arrive at an interface without XDP only where GRO is on.
        let cable = Veth::with(
            Options {
                gro: true,
                mtu: None,
            },
            &outside,
            &[&format!("{server}/{PREFIX_LEN}")],
            &inside,
            &[&format!("{INSIDE}/{PREFIX_LEN}")],
        )?;
        // xdp-filter, as any filter that denies what it does not know, drops ARP.
        cable
            .left
            .add_neighbour(inside_address()?, cable.right.mac)?;
        cable
            .right
            .add_neighbour(packets::LISTED_V4.into(), cable.left.mac)?;
        inside.ip(&["route", "add", "default", "via", &server])?;

        let listed: Vec<IpAddr> = (0..count).flat_map(packets::listed).collect();
        let sources = tempfile::tempdir()?;
        let source = sources.path().join("ntp.conf");
        let lines: Vec<_> = listed
            .iter()
            .map(|address| format!("server {address}"))
            .collect();
        std::fs::write(&source, lines.join("\n")).context("cannot write a configuration")?;

        let serving = Chronyd::serve(&outside)?;
        let setup: Setup = Client::setup(packets::LISTED_V4.into())?;
        let client = Client::start(&inside, setup, packets::LISTED_V4.into())?;
        Ok(Self {
            outside: cable.left,
            inside: cable.right,
            client,
            source,
            listed,
            _server: serving,
            _sources: sources,
        })
    }
}

/// The guarded host's address.
pub(crate) fn inside_address() -> Result<IpAddr> {
    Ok(INSIDE.parse()?)
}
