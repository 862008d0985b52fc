//! chronyd, as a server and as a client.

use std::{net::IpAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{START_LIMIT, Setup, binary};
use crate::{
    namespace::Namespace,
    process::{self, Process},
    wait::eventually,
};

/// A running chronyd.
#[derive(Debug)]
pub struct Chronyd {
    process: Process,
    setup: Setup,
    chronyc: PathBuf,
    namespace: Namespace,
}

/// A time source as `chronyc sources` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `*` selected, `+` combined, `-` not, `?` unreachable, `x` a falseticker, `~` too variable.
    pub state: char,
    /// Its address; a name while it is not resolved.
    pub address: String,
    /// Its stratum.
    pub stratum: u8,
    /// Which of the last eight polls were answered, a bit each.
    pub reach: u8,
}

impl Chronyd {
    /// Starts a server that is sure of its clock, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When chronyd is missing or does not start.
    pub fn serve(namespace: &Namespace) -> Result<Self> {
        Self::start(namespace, "local stratum 8\nallow all\n", None)
    }

    /// Starts chronyd with `config` in its file of sources, and waits until it answers its own
    /// tool. Clients should use `iburst minpoll 0 maxpoll 0`: they synchronise in a second.
    ///
    /// # Errors
    ///
    /// When chronyd is missing or does not start; with what it printed.
    pub fn start(namespace: &Namespace, config: &str, nameserver: Option<IpAddr>) -> Result<Self> {
        Self::start_in(namespace, Setup::new(config, nameserver)?)
    }

    /// As [`Self::start`], with what was set up before.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`].
    pub fn start_in(namespace: &Namespace, setup: Setup) -> Result<Self> {
        let chronyd = binary("chrony/usr/sbin/chronyd")?;
        let chronyc = binary("chrony/usr/bin/chronyc")?;
        let settings = format!(
            "include {}\nbindcmdaddress {}\npidfile {}\ncmdport 0\n",
            setup.config().display(),
            setup.path("socket").display(),
            setup.path("pid").display(),
        );
        setup.write("chrony.conf", &settings)?;
        let mut command = setup.confine(namespace, &chronyd);
        // -x: never touch the clock. -d: stay, and log here. No user of Debian's need exist.
        command
            .args(["-x", "-d", "-u", "root", "-f"])
            .arg(setup.path("chrony.conf"));
        let process = Process::spawn(command)?;
        let mut started = Self {
            process,
            setup,
            chronyc,
            namespace: namespace.clone(),
        };
        eventually(START_LIMIT, "chronyd's answer to chronyc", || {
            started.chronyc(&["activity"]).map(drop)
        })
        .map_err(|error| started.process.explain(error))?;
        Ok(started)
    }

    /// The file with its sources, and nothing of the harness.
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

    /// Runs chronyc, which prints comma-separated values and addresses.
    ///
    /// # Errors
    ///
    /// When it fails, as before chronyd has opened its socket.
    pub fn chronyc(&self, arguments: &[&str]) -> Result<String> {
        let mut command: Command = self.namespace.command(&self.chronyc);
        command
            .args(["-c", "-n", "-h"])
            .arg(self.setup.path("socket"))
            .args(arguments);
        process::run(command)
    }

    /// Its sources.
    ///
    /// # Errors
    ///
    /// When chronyc fails or prints something else.
    pub fn sources(&self) -> Result<Vec<Source>> {
        let printed = self.chronyc(&["sources"])?;
        printed
            .lines()
            .map(|line| source(line).with_context(|| format!("not a source: {line}")))
            .collect()
    }

    /// Waits until a source has been reached and selected, and gives all of them.
    ///
    /// # Errors
    ///
    /// When that takes longer than `limit`; with the sources and the log.
    pub fn wait_synchronised(&mut self, limit: Duration) -> Result<Vec<Source>> {
        eventually(limit, "chronyd's selection of a source", || {
            let sources = self.sources()?;
            let selected = sources
                .iter()
                .any(|source| source.state == '*' && source.reach != 0);
            let tracking = self.chronyc(&["tracking"])?;
            ensure!(
                selected && tracking.contains(",Normal"),
                "{sources:?}, tracking {tracking}"
            );
            Ok(sources)
        })
        .map_err(|error| self.process.explain(error))
    }
}

/// Reads `^,*,10.99.1.1,8,0,17,0,…`: kind, state, address, stratum, poll, reach in octal.
fn source(line: &str) -> Option<Source> {
    let mut fields = line.split(',').skip(1);
    let state = fields.next()?.chars().next()?;
    let address = fields.next()?.to_owned();
    let stratum = fields.next()?.parse().ok()?;
    let reach = u8::from_str_radix(fields.nth(1)?, 8).ok()?;
    Some(Source {
        state,
        address,
        stratum,
        reach,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reach_is_read_as_octal() {
        let line = "^,*,10.99.1.1,8,0,377,0,0.000002047,0.000002579,0.000006568";
        let address = "10.99.1.1".to_owned();
        assert_eq!(
            source(line),
            Some(Source {
                state: '*',
                address,
                stratum: 8,
                reach: 255
            })
        );
        assert_eq!(source("506 Cannot talk to daemon"), None);
    }
}
