//! Where programs that judge can be, and where one is.

pub(super) mod bpf_link;
pub(super) mod clsact;
pub(super) mod external;
pub(super) mod ingress;
pub(super) mod others;
pub mod tc;

use serde::{Deserialize, Serialize};

use super::{Interface, Tc};

/// Where the program is to run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// Try native, tc, then generic, and use the first that works.
    #[default]
    Auto,
    /// Native XDP, in the network driver.
    Native,
    /// Generic XDP, in the network stack.
    Generic,
    /// The tc hook, behind any XDP program of the interface.
    Tc,
    /// Leave attaching to another program, such as xdp-loader, which loads what `ntpguard object` writes.
    External,
}

impl AttachMode {
    /// The ways to try, best first.
    pub(super) const fn ways(self) -> &'static [AttachPoint] {
        match self {
            Self::Auto => &[AttachPoint::Native, AttachPoint::Tc, AttachPoint::Generic],
            Self::Native => &[AttachPoint::Native],
            Self::Generic => &[AttachPoint::Generic],
            Self::Tc => &[AttachPoint::Tc],
            Self::External => &[AttachPoint::External],
        }
    }

    /// The best place that may be had.
    pub(super) const fn best(self) -> AttachPoint {
        match self {
            Self::Auto | Self::Native => AttachPoint::Native,
            Self::Generic => AttachPoint::Generic,
            Self::Tc => AttachPoint::Tc,
            Self::External => AttachPoint::External,
        }
    }

    pub(super) fn takes(self, how: AttachPoint) -> bool {
        self.ways().contains(&how)
    }
}

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachPoint {
    /// In the driver, before the kernel has made a socket buffer of the frame.
    Native,
    /// In the network stack, with any driver.
    Generic,
    /// In the network stack, behind the XDP hooks.
    Tc,
    /// Where somebody else has attached it.
    External,
}

impl AttachPoint {
    /// The name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
            Self::External => "external",
        }
    }

    /// What passes there unseen, for people.
    pub const fn blind_to(self) -> Option<&'static str> {
        match self {
            // netif_receive_generic_xdp() makes one piece of a buffer and shows none of its segments.
            Self::Generic => Some(
                "if a container or virtual machine sends several NTP packets in one buffer (UDP \
                 segmentation offload), generic XDP sees the first only and the rest pass with \
                 it; tc does not have this gap",
            ),
            Self::Native | Self::Tc | Self::External => None,
        }
    }
}

/// For people.
impl std::fmt::Display for AttachPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Native => "native XDP",
            Self::Generic => "generic XDP",
            Self::Tc => "tc",
            Self::External => "another program's attachment",
        })
    }
}

/// A guarded interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Which.
    pub interface: Interface,
    /// Where the program runs, as the kernel says.
    pub how: AttachPoint,
    /// Why it does not run in a better place.
    pub why_not_better: Option<String>,
    /// Whether the interface was guarded before, and its link has a new program now.
    pub adopted: bool,
    /// How what leaves is noted; `None` where requests are not tracked.
    pub egress: Option<Tc>,
}
