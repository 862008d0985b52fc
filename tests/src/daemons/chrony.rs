//! chronyd, as a server and as a client.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::{START_LIMIT, Setup, WITHOUT_CLOCK, binary};
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

/// What passed between a chronyd and a source of its.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchanges {
    /// Whether the last reply was in interleaved mode (RFC 9769).
    pub interleaved: bool,
    /// Whether the last reply was authenticated.
    pub authenticated: bool,
    /// Requests that it sent.
    pub sent: u64,
    /// Replies that it got.
    pub received: u64,
    /// Of those, the ones that answered its last request.
    pub valid: u64,
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
    /// tool. Clients should use `iburst minpoll 0 maxpoll 0`: they synchronise in a second. A guard
    /// can ask it only with `cmdport 323`.
    ///
    /// # Errors
    ///
    /// When chronyd is missing or does not start; with what it printed.
    pub fn start(namespace: &Namespace, config: &str, nameserver: Option<IpAddr>) -> Result<Self> {
        Self::start_in(namespace, Setup::new(config, nameserver)?)
    }

    /// What it makes of the configuration whose main file is `path`: its lines without comments,
    /// those of other files in their places.
    ///
    /// # Errors
    ///
    /// When it is missing or does not accept the file; with what it says.
    pub fn printed(path: &Path) -> Result<String> {
        let mut command = Command::new(binary("chrony/usr/sbin/chronyd")?);
        command.arg("-pf").arg(path);
        process::run(command)
    }

    /// Its program.
    ///
    /// # Errors
    ///
    /// When it is missing.
    pub fn program() -> Result<PathBuf> {
        binary("chrony/usr/sbin/chronyd")
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
            "cmdport 0\ninclude {}\nbindcmdaddress {}\npidfile {}\n",
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

    /// Starts chronyd as user `uid`, with these directives for arguments and no file, and does not wait.
    /// One of them has to be a `pidfile` where that user can write.
    ///
    /// # Errors
    ///
    /// When chronyd is missing.
    pub fn by_arguments(namespace: &Namespace, uid: u32, directives: &[&str]) -> Result<Process> {
        let (setpriv, unclocked) = WITHOUT_CLOCK.split_first().context("a command")?;
        let id = uid.to_string();
        let mut command = namespace.command(setpriv);
        command
            .args(unclocked)
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
            .arg(binary("chrony/usr/sbin/chronyd")?)
            // -U: run as any user.
            .args(["-x", "-d", "-U", "-u", "root"])
            .args(["bindcmdaddress /", "cmdport 0", "port 0"])
            .args(directives);
        Process::spawn(command)
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

    /// How many requests it has answered as a server.
    ///
    /// # Errors
    ///
    /// When chronyc fails or prints something else.
    pub fn answered(&self) -> Result<u64> {
        let printed = self.chronyc(&["serverstats"])?;
        let mut counts = printed.trim().split(',').map(str::parse::<u64>);
        match (counts.next(), counts.next()) {
            (Some(Ok(received)), Some(Ok(dropped))) => Ok(received - dropped),
            _ => bail!("not the statistics of a server: {printed}"),
        }
    }

    /// What it has sent to a source, and of what came back, what it took and what it did not.
    ///
    /// # Errors
    ///
    /// When chronyc fails or prints something else.
    pub fn exchanges(&self, source: IpAddr) -> Result<Exchanges> {
        let printed = self.chronyc(&["ntpdata", &source.to_string()])?;
        exchanges(&printed).with_context(|| format!("not data of a source: {printed}"))
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

/// Reads the end of `10.77.0.10,0A4D000A,…,Yes,No,Kernel,Kernel,483,483,483,476`.
fn exchanges(line: &str) -> Option<Exchanges> {
    let mut fields = line.trim().rsplit(',').skip(1);
    let valid = fields.next()?.parse().ok()?;
    let received = fields.next()?.parse().ok()?;
    let sent = fields.next()?.parse().ok()?;
    let authenticated = fields.nth(2)? == "Yes";
    let interleaved = fields.next()? == "Yes";
    Some(Exchanges {
        interleaved,
        authenticated,
        sent,
        received,
        valid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_is_read_from_the_end() {
        let line = "10.77.0.10,0A4D000A,123,10.77.0.2,0A4D0002,Normal,4,Server,8,-6,0,-25,\
                    0.000000030,0.000000,0.000000,7F7F0101,,1795603590.349862140,0.000000184,\
                    0.000003557,0.000000059,0.000096811,0.00,111,111,1111,Yes,No,Kernel,Kernel,\
                    485,484,483,476\n";
        let expected = Exchanges {
            interleaved: true,
            authenticated: false,
            sent: 485,
            received: 484,
            valid: 483,
        };
        assert_eq!(exchanges(line), Some(expected));
        assert_eq!(exchanges("506 Cannot talk to daemon"), None);
    }

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
