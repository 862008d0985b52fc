//! The uids of accounts by their names.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// The accounts of this host. Those of directory services are not among them: a daemon's is local, and
/// a statically linked program could not ask.
const PASSWD: &str = "/etc/passwd";

/// Most bytes of it that are read.
const LIMIT: u64 = 1 << 20;

/// The accounts of this host, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounts(Vec<(String, u32)>);

impl Accounts {
    /// Reads them; none where the file cannot be read.
    pub(super) fn read() -> Self {
        let text = read(Path::new(PASSWD)).inspect_err(|error| {
            tracing::debug!("cannot read {PASSWD}: {error}");
        });
        Self::parse(&text.unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let account = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            let uid = fields.nth(1)?.parse().ok()?;
            Some((name, uid))
        };
        Self(text.lines().filter_map(account).collect())
    }

    /// The uids of those of `names` that there are.
    pub(super) fn uids<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = u32> + 'a {
        let uid = |name: &&str| self.0.iter().find(|(known, _)| known == name);
        names.iter().filter_map(uid).map(|(_, uid)| *uid)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name() {
        let accounts = Accounts::parse(
            "root:x:0:0:root:/root:/bin/sh\n_chrony:x:102:103::/var/lib/chrony:/bin/false\n\
             broken\n+::::::\nntp:x:many:1::/:\nntpsec:x:105:1::/:/bin/false\n",
        );
        let uids: Vec<u32> = accounts.uids(&["ntpsec", "ntp", "_chrony"]).collect();
        assert_eq!(uids, [105, 102]);
        assert_eq!(accounts.uids(&["chrony", "broken", ""]).count(), 0);
    }
}
