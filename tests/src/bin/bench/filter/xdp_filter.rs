//! xdp-filter of the xdp-tools: drop what does not come from a listed address.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::programs::Xdp;
use ntpguard_tests::{
    bpftool,
    link::{Port, Veth},
    namespace::Namespace,
    process,
};

use crate::programs;

/// Loads the filter and lists the addresses. A BPF file system of its own keeps its pins, which
/// have fixed names, apart from everybody's; program and maps stay with the interface.
const LOAD: &str = r#"
mount -t bpf bpf /sys/fs/bpf
xdp-filter load --mode native --policy deny --features ipv4,ipv6 "$0"
for address; do xdp-filter ip --mode src "$address"; done
"#;

/// The filter on an interface, until it is dropped.
pub(crate) struct XdpFilter {
    port: Port,
    program: Xdp,
}

impl XdpFilter {
    /// On an interface of its own, to be measured alone.
    pub(crate) fn apart(listed: &[IpAddr]) -> Result<Self> {
        // The port keeps the namespace.
        let namespace = Namespace::new("xdpfilter")?;
        let cable = Veth::between(&namespace, &[], &namespace, &[])?;
        Self::on(&cable.left, listed)
    }

    /// On this interface.
    pub(crate) fn on(port: &Port, listed: &[IpAddr]) -> Result<Self> {
        let mut command = port.namespace.command("unshare");
        command
            .args(["--mount", "--propagation", "private", "--"])
            .args(["sh", "-e", "-c", LOAD, &port.interface])
            .args(listed.iter().map(IpAddr::to_string));
        process::run(command).context("xdp-filter does not load")?;
        let hooks = bpftool::net(&port.namespace)?;
        let id = hooks
            .get("xdp")
            .into_iter()
            .flatten()
            .find(|hook| hook["devname"].as_str() == Some(&port.interface))
            .and_then(program_id)
            .context("xdp-filter loaded nothing")?;
        Ok(Self {
            port: port.clone(),
            program: programs::by_id(id)?,
        })
    }

    /// Its program.
    pub(crate) fn program(&self) -> &Xdp {
        &self.program
    }
}

fn program_id(hook: &serde_json::Value) -> Option<u32> {
    hook["id"].as_u64()?.try_into().ok()
}

impl Drop for XdpFilter {
    fn drop(&mut self) {
        let line = ["link", "set", "dev", &self.port.interface, "xdp", "off"];
        if let Err(error) = self.port.namespace.ip(&line) {
            eprintln!("xdp-filter stays on {}: {error:#}", self.port.interface);
        }
    }
}
