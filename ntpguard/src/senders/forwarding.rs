//! Whether this host sends the requests of others on.

use std::{fs, io, path::Path};

use crate::lookup::Lookup;

/// Where the kernel tells, for each family.
const SWITCHES: [(&str, &str); 2] = [
    ("IPv4", "/proc/sys/net/ipv4/ip_forward"),
    ("IPv6", "/proc/sys/net/ipv6/conf/all/forwarding"),
];

/// Whether this network namespace forwards, by family; one that it does not have is left out.
pub fn families() -> Vec<(&'static str, io::Result<bool>)> {
    let look = |(family, switch)| match is_on(Path::new(switch)) {
        Lookup::Found(on) => Some((family, Ok(on))),
        Lookup::Absent => None,
        Lookup::Refused(error) => Some((family, Err(error))),
    };
    SWITCHES.into_iter().filter_map(look).collect()
}

fn is_on(switch: &Path) -> Lookup<bool> {
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
        assert!(matches!(is_on(&switch), Lookup::Absent));
        for (value, on) in [("0\n", false), ("1\n", true), ("2\n", true), ("", false)] {
            fs::write(&switch, value).unwrap();
            assert_eq!(is_on(&switch).found(), Some(on), "{value:?}");
        }
    }
}
