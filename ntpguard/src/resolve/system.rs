//! `/etc/resolv.conf`: which servers to ask, and where to look for short names.

use std::{fs::File, io::Read as _, net::SocketAddr, path::Path};

use hickory_resolver::{config::NameServerConfig, proto::rr::Name, system_conf::parse_resolv_conf};

use super::Failure;

/// A resolv.conf of more bytes than this is none.
const LARGEST_FILE: u64 = 1 << 20;

/// Whom to ask, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Servers {
    /// In the order in which they are asked.
    pub(super) addresses: Vec<SocketAddr>,
    /// Domains in which a name with too few dots is looked for first.
    pub(super) search: Vec<Name>,
    /// How many dots make a name absolute.
    pub(super) ndots: usize,
    /// Whether to send EDNS (RFC 6891).
    pub(super) edns: bool,
}

impl Servers {
    /// Servers that somebody named, without search domains.
    pub(super) fn given(addresses: &[SocketAddr]) -> Self {
        Self {
            addresses: addresses.to_vec(),
            search: Vec::new(),
            ndots: 1,
            edns: true,
        }
    }

    /// The absolute names that a name may mean, in the order in which they are tried.
    ///
    /// A name with dots enough is absolute as written, and is not looked for elsewhere when it is
    /// not found: `pool.ntp.org.` in some wildcard domain is not what was configured.
    pub(super) fn candidates(&self, name: &str) -> Result<Vec<Name>, Failure> {
        let bad = |message: String| Failure::BadName { message };
        if name.is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        let mut absolute = Name::from_ascii(name).map_err(|error| bad(error.to_string()))?;
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let search = if dots < self.ndots {
            self.search.as_slice()
        } else {
            &[]
        };
        // A name too long for a domain cannot be in it.
        let searched = search
            .iter()
            .filter_map(|domain| absolute.clone().append_domain(domain).ok());
        let mut candidates: Vec<Name> = searched.collect();
        absolute.set_fqdn(true);
        candidates.push(absolute);
        Ok(candidates)
    }
}

/// The servers that `file` names, which was opened at `path`. It is read for each question, so that what
/// DHCP or a VPN writes there counts at once.
pub(super) fn servers(path: &Path, file: Option<File>) -> Result<Servers, Failure> {
    let fail = |message: String| Failure::NoServers {
        file: path.to_owned(),
        message,
    };
    let file = file.ok_or_else(|| fail("not opened".to_owned()))?;
    let mut contents = Vec::new();
    let read = file.take(LARGEST_FILE).read_to_end(&mut contents);
    read.map_err(|error| fail(error.to_string()))?;
    parse(&contents).map_err(fail)
}

fn parse(contents: &[u8]) -> Result<Servers, String> {
    let (config, options) = parse_resolv_conf(contents).map_err(|error| error.to_string())?;
    let addresses = config.name_servers().iter().filter_map(address).collect();
    let mut search = config.search().to_vec();
    if search.is_empty() {
        search.extend(config.domain().cloned());
    }
    Ok(Servers {
        addresses,
        search,
        ndots: options.ndots,
        edns: options.edns0,
    })
}

fn address(server: &NameServerConfig) -> Option<SocketAddr> {
    server
        .connections
        .first()
        .map(|connection| SocketAddr::new(server.ip, connection.port))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(servers: &Servers, name: &str) -> Vec<String> {
        servers
            .candidates(name)
            .unwrap()
            .iter()
            .map(Name::to_ascii)
            .collect()
    }

    #[test]
    fn servers_search_domains_and_options_are_read() {
        let servers = parse(
            b"# a comment\nsearch corp.example lab.example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions edns0 ndots:2\n",
        )
        .unwrap();
        let expected: Vec<SocketAddr> = vec![
            "192.0.2.53:53".parse().unwrap(),
            "[2001:db8::53]:53".parse().unwrap(),
        ];
        assert_eq!(servers.addresses, expected);
        assert!(servers.edns);
        assert_eq!(
            names(&servers, "ntp.dc"),
            ["ntp.dc.corp.example.", "ntp.dc.lab.example.", "ntp.dc."]
        );
        assert_eq!(names(&servers, "a.pool.example"), ["a.pool.example."]);
    }

    #[test]
    fn only_a_name_with_too_few_dots_is_looked_for_in_the_search_domains() {
        let servers = parse(b"search corp.example\nnameserver 192.0.2.53\n").unwrap();
        assert_eq!(names(&servers, "ntp"), ["ntp.corp.example.", "ntp."]);
        assert_eq!(names(&servers, "pool.ntp.org"), ["pool.ntp.org."]);
    }

    #[test]
    fn a_name_that_dns_cannot_have_is_a_failure() {
        let servers = Servers::given(&[]);
        for name in ["", "a..b", &"a".repeat(64), &"a.".repeat(200)] {
            assert!(
                matches!(servers.candidates(name), Err(Failure::BadName { .. })),
                "{name}"
            );
        }
        assert_eq!(names(&servers, "_ntp.example"), ["_ntp.example."]);
    }

    #[test]
    fn a_file_without_servers_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        let read = || servers(&path, File::open(&path).ok());
        assert!(matches!(read(), Err(Failure::NoServers { .. })));
        fs::write(&path, "# nothing yet\n").unwrap();
        let message = read().unwrap_err().to_string();
        assert!(
            message.contains("resolv.conf") && message.contains("nameserver"),
            "{message}"
        );
        fs::write(&path, "nameserver 192.0.2.53\n").unwrap();
        let server = SocketAddr::new("192.0.2.53".parse().unwrap(), 53);
        assert_eq!(read().unwrap().addresses, [server]);
    }
}
