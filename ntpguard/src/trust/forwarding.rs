//! Whether this host sends the requests of others on.

use std::{fs, path::Path};

use super::Blind;
use crate::lookup::Lookup;

/// Where the kernel tells, for each family.
const SWITCHES: [(&str, &str); 2] = [
    ("IPv4", "/proc/sys/net/ipv4/ip_forward"),
    ("IPv6", "/proc/sys/net/ipv6/conf/all/forwarding"),
];

/// The families that this network namespace forwards, and those of which that cannot be seen.
pub(super) fn findings() -> impl Iterator<Item = Blind> {
    SWITCHES.into_iter().filter_map(|(family, switch)| {
        let switch = Path::new(switch);
        match says(switch) {
            Lookup::Found(true) => Some(Blind::Forwards { family, switch }),
            Lookup::Found(false) | Lookup::Absent => None,
            Lookup::Refused(error) => Some(Blind::ForwardingRefused {
                family,
                switch,
                why: error.to_string(),
            }),
        }
    })
}

/// Whether it forwards any family, as far as that can be seen.
pub(super) fn is_on() -> bool {
    let mut switches = SWITCHES.iter();
    switches.any(|(_, switch)| says(Path::new(switch)).found() == Some(true))
}

fn says(switch: &Path) -> Lookup<bool> {
    let value = fs::read_to_string(switch);
    Lookup::of(value.map(|value| !matches!(value.trim(), "" | "0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_on_unless_it_is_zero() {
        let directory = tempfile::tempdir().unwrap();
        let switch = directory.path().join("forwarding");
        assert!(matches!(says(&switch), Lookup::Absent));
        for (value, on) in [("0\n", false), ("1\n", true), ("2\n", true), ("", false)] {
            fs::write(&switch, value).unwrap();
            assert_eq!(says(&switch).found(), Some(on), "{value:?}");
        }
    }
}
