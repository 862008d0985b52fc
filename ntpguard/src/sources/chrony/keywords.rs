//! The directives that only chrony.conf has.

/// Whether a word in lower case is a directive of chronyd's that no other daemon has.
pub(in crate::sources) fn is_chronys(word: &str) -> bool {
    CHRONY_ALONE.contains(&word)
}

/// Directives that only chrony.conf has.
const CHRONY_ALONE: &[&str] = &[
    "acquisitionport",
    "allow",
    "authselectmode",
    "bindaddress",
    "bindcmdaddress",
    "cmdallow",
    "cmdport",
    "confdir",
    "deny",
    "dumpdir",
    "hwtimestamp",
    "include",
    "initstepslew",
    "keyfile",
    "leapsectz",
    "local",
    "log",
    "logchange",
    "logdir",
    "makestep",
    "maxupdateskew",
    "minsources",
    "ntsdumpdir",
    "ntsservercert",
    "ntsserverkey",
    "port",
    "ratelimit",
    "rtcfile",
    "rtconutc",
    "rtcsync",
    "sourcedir",
    "stratumweight",
];
