//! What is asked of DNS.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::sources::{Family, Host, Want};

/// A name, and which of its addresses count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Question {
    /// The name in lower case, without the dot at its end.
    pub name: String,
    /// Which of its addresses count.
    pub family: Family,
}

impl Question {
    /// Makes a question of a name as it stands in a configuration file: `Time.Example.` and
    /// `time.example` are one name.
    pub fn new(name: &str, family: Family) -> Self {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        Self { name, family }
    }

    /// What has to be asked before a want can be granted; `None` where it has an address.
    pub fn of(want: &Want) -> Option<Self> {
        match want {
            Want::Source {
                host: Host::Name(name),
                family,
                ..
            } => Some(Self::new(name, *family)),
            _ => None,
        }
    }

    /// Whether an address is of the family asked for.
    pub const fn covers(&self, address: IpAddr) -> bool {
        match self.family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            Family::Any => f.write_str(&self.name),
            Family::V4 => write!(f, "{} (IPv4)", self.name),
            Family::V6 => write!(f, "{} (IPv6)", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_a_dot_at_the_end_make_no_other_name() {
        let plain = Question::new("time.example", Family::Any);
        assert_eq!(Question::new("Time.Example.", Family::Any), plain);
        assert_ne!(Question::new("time.example", Family::V4), plain);
        assert_eq!(plain.name, "time.example");
    }
}
