//! What breaks a rule and stays for now, each with its reason. An entry that no longer applies fails
//! the check, so the list only gets shorter.

/// A circle of imports.
pub(super) struct Circle {
    /// The module that its members are in, as `CRATE::MODULE`.
    pub(super) parent: &'static str,
    /// In order.
    pub(super) members: &'static [&'static str],
    /// Why it stays.
    pub(super) reason: &'static str,
}

/// A file or folder that is too large.
pub(super) struct Large {
    pub(super) path: &'static str,
    /// Why it stays.
    pub(super) reason: &'static str,
}

const OPENING: &str = "from before this rule; to be opened";

pub(super) const CIRCLES: &[Circle] = &[
    Circle {
        parent: "ntpguard-common::fixtures",
        members: &[
            "custom_port",
            "frames",
            "grants",
            "link_local",
            "model",
            "steps",
            "wire",
        ],
        reason: "fixtures are written from one set of grants, which names the special cases of each",
    },
    Circle {
        parent: "ntpguard-common::rule",
        members: &["proof", "refuse"],
        reason: OPENING,
    },
    Circle {
        parent: "ntpguard-common::wire",
        members: &["inner", "packet"],
        reason: "a packet can be inside a packet, which is read the same way",
    },
    Circle {
        parent: "ntpguard::sources::files",
        members: &["library", "pattern"],
        reason: OPENING,
    },
    Circle {
        parent: "ntpguard",
        members: &["api", "telemetry"],
        reason: OPENING,
    },
    Circle {
        parent: "ntpguard::daemon",
        members: &["client", "control", "subscribers"],
        reason: OPENING,
    },
    Circle {
        parent: "ntpguard::daemon",
        members: &["ending", "event_loop", "handover"],
        reason: OPENING,
    },
    Circle {
        parent: "ntpguard::allowlist",
        members: &["claims", "row"],
        reason: OPENING,
    },
    Circle {
        parent: "ntpguard::allowlist",
        members: &["projection", "room"],
        reason: OPENING,
    },
    Circle {
        parent: "ntpguard::datapath",
        members: &[
            "advice",
            "attach",
            "attachments",
            "error",
            "guard",
            "interface",
            "maps",
            "object",
            "pins",
        ],
        reason: OPENING,
    },
    Circle {
        parent: "ntpguard::datapath::maps",
        members: &["apply", "tables"],
        reason: OPENING,
    },
    Circle {
        parent: "ntpguard::query",
        members: &["apart", "chrony", "mode6", "ntpd_rs", "timesyncd"],
        reason: "each dialect's question is put by the process that lives apart, which lists the dialects",
    },
    Circle {
        parent: "tests",
        members: &["namespace", "sweep"],
        reason: OPENING,
    },
    Circle {
        parent: "xtask",
        members: &["setup", "vm"],
        reason: "setup fetches what the virtual machines boot, and they call setup first",
    },
];

pub(super) const LARGE: &[Large] = &[
    Large {
        path: "ntpguard/src/daemon",
        reason: OPENING,
    },
    Large {
        path: "ntpguard/src/reconciler.rs",
        reason: OPENING,
    },
    Large {
        path: "ntpguard/src/sources/apart/tests.rs",
        reason: OPENING,
    },
    Large {
        path: "tests/src",
        reason: OPENING,
    },
    Large {
        path: "tests/src/bin/bench",
        reason: OPENING,
    },
    Large {
        path: "tests/src/guard.rs",
        reason: OPENING,
    },
];
