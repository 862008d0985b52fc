//! Whether this host sends the requests of others on.

use std::{fs, path::Path};

/// Where the kernel tells, for each family.
const SWITCHES: [(&str, &str); 2] = [
    ("IPv4", "/proc/sys/net/ipv4/ip_forward"),
    ("IPv6", "/proc/sys/net/ipv6/conf/all/forwarding"),
];

/// The families that this network namespace forwards.
pub fn families() -> Vec<&'static str> {
    SWITCHES
        .iter()
        .filter(|(_, switch)| is_on(Path::new(switch)))
        .map(|(family, _)| *family)
        .collect()
}

fn is_on(switch: &Path) -> bool {
    fs::read_to_string(switch).is_ok_and(|value| !matches!(value.trim(), "" | "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_on_unless_it_is_zero_or_missing() {
        let directory = tempfile::tempdir().unwrap();
        let switch = directory.path().join("forwarding");
        assert!(!is_on(&switch));
        for (value, on) in [("0\n", false), ("1\n", true), ("2\n", true), ("", false)] {
            fs::write(&switch, value).unwrap();
            assert_eq!(is_on(&switch), on, "{value:?}");
        }
    }
}
