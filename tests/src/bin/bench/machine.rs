//! Where the figures come from.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::measure;

/// Programs that the guard is compared with, how each tells its version, and Debian's package.
const PEERS: [(&str, &str, &str); 5] = [
    ("xdp-filter", "help", "xdp-tools"),
    ("nft", "--version", "nftables"),
    ("iptables", "--version", "iptables"),
    ("ethtool", "--version", "ethtool"),
    ("bpftool", "--version", "bpftool"),
];

/// The machine and the state it was in.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor's own name.
    pub(crate) processor: String,
    /// How many CPUs there are.
    pub(crate) cpus: i64,
    /// The kernel's version, without what its builder adds.
    pub(crate) kernel: String,
    /// Its load over the last minute, before anything was measured.
    pub(crate) load: String,
    /// What was called.
    pub(crate) command: String,
    /// When: seconds since 1970.
    pub(crate) began: u64,
}

impl Machine {
    /// Looks at this machine.
    pub(crate) fn look() -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo")?;
        let processor = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, name)| name);
        let load = read("/proc/loadavg")?;
        let arguments = std::env::args().skip(1);
        let line: Vec<String> = ["cargo xtask bench".to_owned()]
            .into_iter()
            .chain(arguments)
            .collect();
        Ok(Self {
            processor: processor.to_owned(),
            cpus: measure::cpus(),
            kernel: read("/proc/sys/kernel/osrelease")?
                .trim()
                .split('-')
                .next()
                .unwrap_or_default()
                .to_owned(),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            command: line.join(" "),
            began: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)?
                .as_secs(),
        })
    }
}

/// Fails unless everything that the guard is compared with is there.
pub(crate) fn require_peers() -> Result<()> {
    let missing: Vec<_> = PEERS
        .iter()
        .filter(|(program, argument, _)| Command::new(program).arg(argument).output().is_err())
        .map(|(program, _, package)| format!("{program} (Debian's package {package})"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "not installed: {}; `cargo xtask bench --yes` installs them where there is apt",
        missing.join(", ")
    )
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}
