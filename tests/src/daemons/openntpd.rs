//! OpenNTPD, as a client.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{START_LIMIT, Setup, WITH_NAMES, binary};
use crate::{
    namespace::Namespace,
    process::{self, COMMAND_LIMIT, Process},
    wait::eventually,
};

/// It wants directories that a package would make, and a user, whose home it makes its root.
const PLACES: &str = r#"mount -t tmpfs tmpfs /var/lib \
    && mkdir -m 755 /var/lib/openntpd && cd /var/lib/openntpd && mkdir -m 755 run db empty \
    && mount --bind "$0/passwd" /etc/passwd"#;

const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\
                     ntpd:x:65534:65534::/var/lib/openntpd/empty:/bin/false\n";

/// A running ntpd of OpenNTPD. It asks each server every 5 to 9 seconds, less often later.
#[derive(Debug)]
pub struct OpenNtpd {
    process: Process,
    setup: Setup,
}

impl OpenNtpd {
    /// Starts it with `config` in its file: `server 10.0.0.1`.
    ///
    /// # Errors
    ///
    /// When it is missing or does not start; with what it printed.
    pub fn start(namespace: &Namespace, config: &str, nameserver: Option<IpAddr>) -> Result<Self> {
        Self::start_in(namespace, Setup::new(config, nameserver)?)
    }

    /// Whether it would start with `config`, and what it says of it.
    ///
    /// # Errors
    ///
    /// When it is missing.
    pub fn accepts(config: &str) -> Result<(bool, String)> {
        let setup = Setup::new(config, None)?;
        let mut command = Command::new(binary("openntpd/usr/sbin/ntpd")?);
        command.arg("-nf").arg(setup.config());
        let output = process::output(command, COMMAND_LIMIT)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.success(), said))
    }

    /// As [`Self::start`], with what was set up before.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`].
    pub fn start_in(namespace: &Namespace, setup: Setup) -> Result<Self> {
        let ntpd = binary("openntpd/usr/sbin/ntpd")?;
        setup.write("passwd", USERS)?;
        let before = format!("{WITH_NAMES} && {PLACES}");
        let mut command = setup.confine_after(&before, namespace, &ntpd);
        // -d: stay, and log here. -v: tell of each reply.
        command.args(["-d", "-v", "-f"]).arg(setup.config());
        let mut process = Process::spawn(command)?;
        eventually(START_LIMIT, "OpenNTPD's engine", || {
            let log = process.stderr();
            ensure!(log.contains("ntp engine ready"), "{log}");
            Ok(())
        })
        .map_err(|error| process.explain(error))?;
        Ok(Self { process, setup })
    }

    /// The file with its sources.
    pub fn config(&self) -> PathBuf {
        self.setup.config()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.story()
    }

    /// The replies that it took so far, by server.
    ///
    /// # Errors
    ///
    /// When its log has another form.
    pub fn replies(&self) -> Result<BTreeMap<IpAddr, u64>> {
        replies(&self.process.stderr())
    }

    /// Waits until it has taken a reply from each of `servers`.
    ///
    /// # Errors
    ///
    /// When that takes longer than `limit`.
    pub fn wait_replies(&mut self, servers: &[IpAddr], limit: Duration) -> Result<()> {
        eventually(limit, "a reply to OpenNTPD from each server", || {
            let replies = self.replies()?;
            let missing: Vec<_> = servers
                .iter()
                .filter(|server| !replies.contains_key(server))
                .collect();
            ensure!(missing.is_empty(), "none from {missing:?}");
            Ok(())
        })
        .map_err(|error| self.process.explain(error))
    }
}

/// Counts lines such as `reply from 10.0.0.1: offset 0.000019 delay 0.000062, next query 9s`.
fn replies(log: &str) -> Result<BTreeMap<IpAddr, u64>> {
    let mut replies = BTreeMap::new();
    for line in log.lines() {
        if let Some(rest) = line.strip_prefix("reply from ") {
            let from = rest.split_once(": ").map(|(from, _)| from.parse());
            let from = from.with_context(|| format!("no address in {line}"))??;
            *replies.entry(from).or_default() += 1;
        }
    }
    Ok(replies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_by_server() {
        let log = "ntp engine ready\n\
                   reply from 10.0.0.1: offset 0.000019 delay 0.000062, next query 9s\n\
                   reply from fd00::1: offset 0.000006 delay 0.000024, next query 5s\n\
                   reply from 10.0.0.1: offset -0.000029 delay 0.000082, next query 9s\n";
        let replies = replies(log).unwrap();
        assert_eq!(replies[&IpAddr::from([10, 0, 0, 1])], 2, "{replies:?}");
        assert_eq!(replies.values().sum::<u64>(), 3, "{replies:?}");
    }
}
