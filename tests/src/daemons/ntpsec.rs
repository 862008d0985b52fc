//! NTPsec's ntpd, as a server and as a client.
//!
//! It binds port 123 on the wildcard address, so it needs a namespace to itself.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{START_LIMIT, Setup, binary};
use crate::{
    namespace::Namespace,
    process::{self, Process},
    wait::eventually,
};

/// How long ntpq may take: on an answer that never comes it would wait for 20 s.
const NTPQ_LIMIT: Duration = Duration::from_secs(2);

/// A running ntpd of NTPsec.
#[derive(Debug)]
pub struct Ntpd {
    process: Process,
    setup: Setup,
    ntpq: PathBuf,
    namespace: Namespace,
}

/// A time source as `ntpq -p` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The tally code: `*` selected, `+` combined, `-` not, `x` a falseticker, a blank rejected.
    pub tally: char,
    /// Its address; a name while it is not resolved.
    pub address: String,
    /// Its stratum, 16 until it has answered.
    pub stratum: u8,
    /// Which of the last eight polls were answered, a bit each.
    pub reach: u8,
}

impl Ntpd {
    /// Starts a server that is sure of its clock, and waits until it serves.
    ///
    /// # Errors
    ///
    /// When ntpd is missing or does not start.
    pub fn serve(namespace: &Namespace) -> Result<Self> {
        // Orphan mode needs no clock to steer, unlike the local reference clock.
        let mut server = Self::start(namespace, "tos orphan 5 orphanwait 1\n", None)?;
        eventually(START_LIMIT, "ntpd's orphan mode", || {
            let variables = server.ntpq(&["-c", "rv 0 leap,stratum"])?;
            ensure!(variables.contains("stratum=5"), "{variables}");
            Ok(())
        })
        .map_err(|error| server.process.explain(error))?;
        Ok(server)
    }

    /// Starts ntpd with `config` in its file of sources, and waits until it answers its own
    /// tool. Clients should use `iburst minpoll 0 maxpoll 3`: they reach a server in two seconds.
    ///
    /// # Errors
    ///
    /// When ntpd is missing or does not start; with what it printed.
    pub fn start(namespace: &Namespace, config: &str, nameserver: Option<IpAddr>) -> Result<Self> {
        Self::start_in(namespace, Setup::new(config, nameserver)?)
    }

    /// As [`Self::start`], with what was set up before.
    ///
    /// # Errors
    ///
    /// As for [`Self::start`].
    pub fn start_in(namespace: &Namespace, setup: Setup) -> Result<Self> {
        let ntpd = binary("ntpsec/usr/sbin/ntpd")?;
        let ntpq = binary("ntpsec/usr/bin/ntpq")?;
        // ntpq needs leave to ask; one server is enough for a test.
        let settings = format!(
            "disable ntp\nrestrict 127.0.0.1\nrestrict ::1\ntos minclock 1 minsane 1\n\
             includefile {}\n",
            setup.config().display(),
        );
        setup.write("harness.conf", &settings)?;
        let mut command = setup.confine(namespace, &ntpd);
        // -n: stay, and log here.
        command.args(["-n", "-c"]).arg(setup.path("harness.conf"));
        let process = Process::spawn(command)?;
        let mut started = Self {
            process,
            setup,
            ntpq,
            namespace: namespace.clone(),
        };
        eventually(START_LIMIT, "ntpd's answer to ntpq", || {
            started.ntpq(&["-c", "rv 0 version"]).map(drop)
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

    /// Runs ntpq on the loopback; it prints addresses, not names.
    ///
    /// # Errors
    ///
    /// When it fails or gets no answer.
    pub fn ntpq(&self, arguments: &[&str]) -> Result<String> {
        ntpq(&self.namespace, &self.ntpq, arguments, "127.0.0.1")
    }

    /// Its sources.
    ///
    /// # Errors
    ///
    /// When ntpq fails or prints something else.
    pub fn peers(&self) -> Result<Vec<Peer>> {
        let printed = self.ntpq(&["-p"])?;
        peers(&printed).with_context(|| format!("not a table of peers: {printed}"))
    }

    /// Waits until a source has been reached, and gives all of them.
    ///
    /// # Errors
    ///
    /// When that takes longer than `limit`; with the sources and the log.
    pub fn wait_synchronised(&mut self, limit: Duration) -> Result<Vec<Peer>> {
        eventually(limit, "an answer to ntpd from a source", || {
            let peers = self.peers()?;
            let reached = peers
                .iter()
                .any(|peer| peer.reach != 0 && peer.stratum < 16);
            ensure!(reached, "{peers:?}");
            Ok(peers)
        })
        .map_err(|error| self.process.explain(error))
    }
}

/// Reads the rows below the line of `=`. A long address stands on a line of its own.
fn peers(printed: &str) -> Option<Vec<Peer>> {
    let mut peers = Vec::new();
    let mut long: Option<&str> = None;
    for line in printed
        .lines()
        .skip_while(|line| !line.starts_with("==="))
        .skip(1)
    {
        let row = long
            .take()
            .map_or_else(|| line.to_owned(), |address| format!("{address} {line}"));
        if line.split_whitespace().count() == 1 && row == line {
            long = Some(line);
        } else if !row.trim().is_empty() {
            peers.push(peer(&row)?);
        }
    }
    Some(peers)
}

/// Reads `*10.99.1.1  .INIT.  16 u  -  1  0  0.0000 …`: address, refid, stratum, type, when,
/// poll, reach in octal.
fn peer(row: &str) -> Option<Peer> {
    let tally = row.chars().next()?;
    let mut fields = row.get(tally.len_utf8()..)?.split_whitespace();
    let address = fields.next()?.to_owned();
    let stratum = fields.nth(1)?.parse().ok()?;
    let reach = u8::from_str_radix(fields.nth(3)?, 8).ok()?;
    Some(Peer {
        tally,
        address,
        stratum,
        reach,
    })
}

/// Asks a server for its variables by ntpq, from another host.
///
/// # Errors
///
/// When there is no ntpq or no answer.
pub fn query(namespace: &Namespace, server: IpAddr) -> Result<String> {
    let program = binary("ntpsec/usr/bin/ntpq")?;
    ntpq(
        namespace,
        &program,
        &["-c", "rv 0 version"],
        &server.to_string(),
    )
}

fn ntpq(namespace: &Namespace, program: &Path, arguments: &[&str], host: &str) -> Result<String> {
    let mut command = namespace.command(program);
    command.args(["-n", "-w"]).args(arguments).arg(host);
    let output = process::output(command, NTPQ_LIMIT)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    // It tells of a timeout, and then exits with 0.
    let answered = !errors.contains("timed out") && !errors.contains("refused");
    ensure!(
        output.status.success() && answered,
        "ntpq {arguments:?}: {errors}"
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read_with_their_tally_and_reach() {
        let printed = "     remote           refid      st t when poll reach   delay   offset   jitter\n\
                       ===============================================================================\n\
                       *10.99.1.1       127.0.0.1        5 u    1    1  377   0.0708   0.0000   0.2299\n \
                        2001:db8:1111:2222:3333:4444:5555:6666\n                 \
                        .INIT.          16 u    -    1    0   0.0620  -0.0012   0.0386\n";
        let peers = peers(printed).unwrap();
        assert_eq!(peers.len(), 2, "{peers:?}");
        assert_eq!(
            (peers[0].tally, peers[0].stratum, peers[0].reach),
            ('*', 5, 255)
        );
        assert_eq!(peers[0].address, "10.99.1.1");
        assert_eq!(peers[1].address, "2001:db8:1111:2222:3333:4444:5555:6666");
        assert_eq!(
            (peers[1].tally, peers[1].stratum, peers[1].reach),
            (' ', 16, 0)
        );
    }
}
