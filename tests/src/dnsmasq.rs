//! dnsmasq, the DNS server of many home routers and small offices.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{namespace::Namespace, process::Process, wait::eventually};

const START_LIMIT: Duration = Duration::from_secs(10);

/// A running dnsmasq that answers from the records it was given, and asks nobody else.
#[derive(Debug)]
pub struct Dnsmasq {
    process: Process,
    address: IpAddr,
}

impl Dnsmasq {
    /// Starts it on an address that `namespace` has, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When dnsmasq is missing or does not start; with what it printed.
    pub fn start(
        namespace: &Namespace,
        address: IpAddr,
        records: &[(&str, IpAddr)],
    ) -> Result<Self> {
        let mut command = namespace.command("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--pid-file=",
                "--user=root",
            ])
            .args([
                "--no-resolv",
                "--no-hosts",
                "--bind-interfaces",
                "--log-facility=-",
            ])
            .args([
                "--except-interface=lo".to_owned(),
                format!("--listen-address={address}"),
            ])
            .args(
                records
                    .iter()
                    .map(|(name, to)| format!("--host-record={name},{to}")),
            );
        let mut process = Process::spawn(command)?;
        eventually(START_LIMIT, "dnsmasq's port 53", || {
            namespace.enter(|| {
                TcpStream::connect_timeout(&SocketAddr::new(address, 53), START_LIMIT)
                    .map(drop)
                    .context("cannot connect")
            })
        })
        .map_err(|error| process.explain(error))?;
        Ok(Self { process, address })
    }

    /// The address it listens on.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.story()
    }
}
