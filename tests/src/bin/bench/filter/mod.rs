//! What can stand between an interface and the host behind it.

mod rules;
pub(crate) mod xdp_filter;

use std::{
    net::{IpAddr, UdpSocket},
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::programs::{XdpMode, xdp::XdpLinkId};
use ntpguard_common::wire::ntp;
use ntpguard_tests::{guard::Guard, link::Port, packets};
use serde::Serialize;

use self::{rules::Rules, xdp_filter::XdpFilter};
use crate::programs::Program;

/// One of the filters that are compared. The policy is the same: NTP from the listed addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// An XDP program that drops everything: no filter takes more.
    Ceiling,
    /// A program that finds the UDP ports, untagged and without options, and drops those of NTP: the
    /// least that a filter can do.
    Ports,
    /// The same with one bit for the source and one counter: the least that a filter can do which knows
    /// addresses and counts.
    Known,
    /// An XDP program that passes everything.
    Passing,
    /// The guard in the driver.
    NtpguardNative,
    /// The guard on the XDP hook of the network stack.
    NtpguardGeneric,
    /// The guard on its tc hook.
    NtpguardTc,
    /// xdp-filter in the driver.
    XdpFilter,
    /// nftables, a set in a chain of the interface.
    NftNetdev,
    /// nftables, a set in the host's input chain.
    NftInet,
    /// iptables, a rule for each listed address.
    IptablesListed,
    /// iptables, connections followed.
    IptablesStateful,
    /// No filter: the packets reach a socket on port 123 that nobody reads.
    Nothing,
}

impl Kind {
    /// All that a flood is to meet, the ceiling first.
    pub(crate) const FLOODED: [Self; 12] = [
        Self::Ceiling,
        Self::Ports,
        Self::Known,
        Self::NtpguardNative,
        Self::NtpguardGeneric,
        Self::NtpguardTc,
        Self::XdpFilter,
        Self::NftNetdev,
        Self::NftInet,
        Self::IptablesListed,
        Self::IptablesStateful,
        Self::Nothing,
    ];

    /// Its name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ceiling => "drop everything (ceiling)",
            Self::Ports => "look at the ports alone",
            Self::Known => "ports, one bit, one counter",
            Self::Passing => "native XDP that passes everything",
            Self::NtpguardNative => "ntpguard, native XDP",
            Self::NtpguardGeneric => "ntpguard, generic XDP",
            Self::NtpguardTc => "ntpguard, tc",
            Self::XdpFilter => "xdp-filter, native XDP",
            Self::NftNetdev => "nftables netdev ingress, set",
            Self::NftInet => "nftables inet input, set",
            Self::IptablesListed => "iptables, listed addresses",
            Self::IptablesStateful => "iptables, stateful",
            Self::Nothing => "nothing",
        }
    }

    /// Whether legitimate replies get through as well.
    pub(crate) const fn admits(self) -> bool {
        !matches!(self, Self::Ceiling | Self::Ports | Self::Known)
    }

    /// Puts it on the interface, with these addresses listed. `source` names the same ones to the
    /// guard.
    pub(crate) fn stand(self, port: &Port, listed: &[IpAddr], source: &Path) -> Result<Standing> {
        let guard = |attach| {
            let guard = Guard::builder(&port.namespace).interface(&port.interface);
            guard.source(source).args(["--attach", attach]).ready()
        };
        let standing = match self {
            Self::Ceiling => attached(Program::refuse()?, port),
            Self::Ports => attached(Program::ports()?, port),
            Self::Known => attached(Program::known()?, port),
            Self::Passing => attached(Program::pass()?, port),
            Self::NtpguardNative => guard("native").map(Standing::Guard),
            Self::NtpguardGeneric => guard("generic").map(Standing::Guard),
            Self::NtpguardTc => guard("tc").map(Standing::Guard),
            Self::XdpFilter => XdpFilter::on(port, listed)
                .map(Box::new)
                .map(Standing::XdpFilter),
            Self::NftNetdev => Rules::netdev_set(port, listed).map(Standing::Rules),
            Self::NftInet => Rules::inet_set(port, listed).map(Standing::Rules),
            Self::IptablesListed => Rules::listed(port, listed).map(Standing::Rules),
            Self::IptablesStateful => Rules::stateful(port).map(Standing::Rules),
            Self::Nothing => unread_socket(port).map(Standing::Socket),
        };
        standing.with_context(|| format!("cannot set up {}", self.name()))
    }
}

/// A filter in force, until it is dropped.
#[expect(dead_code, reason = "each is held for what its end undoes")]
pub(crate) enum Standing {
    /// A program that does one thing to everything, and its link.
    Program(Program, XdpLinkId),
    /// The guard's daemon.
    Guard(Guard),
    /// xdp-filter.
    XdpFilter(Box<XdpFilter>),
    /// Tables of nftables or iptables.
    Rules(Rules),
    /// Where packets end if nothing stops them.
    Socket(UdpSocket),
}

fn attached(mut program: Program, port: &Port) -> Result<Standing> {
    let xdp = program.xdp_mut()?;
    let link = port.namespace.enter(|| {
        xdp.attach_to_if_index(port.index, XdpMode::Driver)
            .context("cannot attach")
    })?;
    Ok(Standing::Program(program, link))
}

fn unread_socket(port: &Port) -> Result<UdpSocket> {
    packets::udp(&port.namespace, ([0, 0, 0, 0], ntp::PORT).into())
}
