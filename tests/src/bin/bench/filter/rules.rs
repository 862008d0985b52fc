//! Packet filters made of rules: nftables and iptables.

use std::{fmt::Write as _, net::IpAddr};

use anyhow::{Context as _, Result};
use ntpguard_tests::{link::Port, namespace::Namespace, process};

/// Rules in force in a namespace, until they are dropped. No others may be there.
pub(crate) struct Rules {
    namespace: Namespace,
}

impl Rules {
    /// nftables on the interface, before the stack (hook `ingress` of family `netdev`).
    pub(crate) fn netdev_set(port: &Port, listed: &[IpAddr]) -> Result<Self> {
        let hook = format!("hook ingress device \"{}\" priority 0", port.interface);
        Self::nft(&port.namespace, "netdev", &hook, listed)
    }

    /// nftables where packets reach the host (hook `input` of family `inet`).
    pub(crate) fn inet_set(port: &Port, listed: &[IpAddr]) -> Result<Self> {
        Self::nft(&port.namespace, "inet", "hook input priority 0", listed)
    }

    fn nft(namespace: &Namespace, family: &str, hook: &str, listed: &[IpAddr]) -> Result<Self> {
        let mut script = format!("table {family} bench {{\n");
        for (set, kind, v6) in [("v4", "ipv4_addr", false), ("v6", "ipv6_addr", true)] {
            let addresses: Vec<_> = listed
                .iter()
                .filter(|address| address.is_ipv6() == v6)
                .map(IpAddr::to_string)
                .collect();
            let elements = addresses.join(", ");
            writeln!(
                script,
                "set {set} {{ type {kind}; elements = {{ {elements} }}; }}"
            )?;
        }
        writeln!(
            script,
            "chain guard {{
            type filter {hook}; policy accept;
            meta l4proto != udp accept
            ip saddr @v4 accept
            ip6 saddr @v6 accept
            udp dport 123 drop
            udp sport 123 drop
            }}
            }}"
        )?;
        let rules = Self {
            namespace: namespace.clone(),
        };
        rules.run("nft -f /dev/stdin", &script)?;
        Ok(rules)
    }

    /// iptables with a rule for each address, as scripts around `host` make them.
    pub(crate) fn listed(port: &Port, listed: &[IpAddr]) -> Result<Self> {
        let accept = listed
            .iter()
            .filter(|address| address.is_ipv4())
            .map(|address| format!("-A INPUT -p udp --sport 123 -s {address} -j ACCEPT"));
        Self::iptables(port, accept)
    }

    /// iptables that follows connections.
    pub(crate) fn stateful(port: &Port) -> Result<Self> {
        let accept = "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT".to_owned();
        Self::iptables(port, [accept].into_iter())
    }

    fn iptables(port: &Port, accept: impl Iterator<Item = String>) -> Result<Self> {
        let mut lines = vec!["*filter".to_owned()];
        lines.extend(accept);
        lines.push("-A INPUT -p udp --dport 123 -j DROP".to_owned());
        lines.push("-A INPUT -p udp --sport 123 -j DROP".to_owned());
        lines.push("COMMIT\n".to_owned());
        let rules = Self {
            namespace: port.namespace.clone(),
        };
        rules.run("iptables-restore", &lines.join("\n"))?;
        Ok(rules)
    }

    fn run(&self, program: &str, input: &str) -> Result<()> {
        let mut command = self.namespace.command("sh");
        command.args(["-c", &format!("printf %s \"$0\" | {program}"), input]);
        process::run(command)
            .map(drop)
            .with_context(|| format!("{program} refuses:\n{input}"))
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        // Debian's iptables is made of nftables' tables, so this is the end of either.
        if let Err(error) = self.namespace.run(&["nft", "flush", "ruleset"]) {
            eprintln!("rules stay in {}: {error:#}", self.namespace.name());
        }
    }
}
