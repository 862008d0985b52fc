//! Sockets of others: nothing is made beside them, and what answers is a daemon of this host's network.

use std::{
    fs::{self, Permissions},
    net::IpAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    bus::Bus,
    config::ConfigFile,
    daemons::{Setup, chrony::Chronyd, stand_in::StandIns, timesyncd::Timesyncd},
    guard::Guard,
    lab::Lab,
    namespace::Namespace,
    process::{self, Process},
    wait::eventually,
};
use serde_json::Value;

use super::{HEARD, USER};

/// What chronyd says it uses, where only it says so.
const USED: &str = "192.0.2.77";

/// What must not be believed.
const FORGED: &str = "203.0.113.66";

/// More than from one round of asking to the next.
const ROUND: Duration = Duration::from_secs(12);

/// The command line as an ordinary user's.
fn as_user(line: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([
            format!("--reuid={USER}"),
            format!("--regid={USER}"),
            "--clear-groups".to_owned(),
            "--".to_owned(),
        ])
        .args(line);
    command
}

fn client(address: &str) -> String {
    format!("cmdport 323\nserver {address} minpoll 0 maxpoll 0\n")
}

fn granted(guard: &Guard, address: &str) -> Result<bool> {
    let listing = guard.json(&["allowlist", "list", "--json"])?;
    let rows = listing["rows"].as_array().context("no rows")?;
    let prefix = |row: &Value| row["prefix"].as_str().unwrap_or_default().to_owned();
    Ok(rows
        .iter()
        .any(|row| prefix(row).split('/').next() == Some(address)))
}

/// Waits until a round of asking is through in which chronyd said that it uses `address`.
fn wait_heard(guard: &Guard, address: &str) -> Result<()> {
    eventually(HEARD, "chronyd's answer", || {
        guard.json(&["allowlist", "update", "--json"])?;
        let inventory = guard.json(&["sources", "--json"])?;
        let used = inventory["in_use"].as_array().context("no list")?;
        let is_its = |used: &&Value| used["daemon"] == "chronyd" && used["address"] == address;
        ensure!(used.iter().any(|used| is_its(&used)), "{inventory}");
        Ok(())
    })
}

/// The user whose directory chronyd's socket is in has put links where a guard would put its own socket.
#[test]
fn nothing_is_made_beside_chronyds_socket_and_no_link_there_is_followed() -> Result<()> {
    let lab = Lab::new()?;
    let roots = lab.write("roots", "secret\n")?;
    fs::set_permissions(&roots, Permissions::from_mode(0o600))?;
    let chronyd = Chronyd::start(&lab.inside.namespace, &client(USED), None)?;
    let config = chronyd.config();
    let directory = config.parent().context("no directory")?;
    chown(directory, Some(USER), Some(USER))?;
    // Where root has no more rights than its capabilities give, it may write there like all others.
    fs::set_permissions(directory, Permissions::from_mode(0o777))?;
    // The socket is named where a guard reads it.
    let socket = format!("bindcmdaddress {}\n", directory.join("socket").display());
    let source = ConfigFile::chrony(&(socket + &client(USED)))?;
    let guard = lab.guard().source(source.path()).ready()?;
    let link = directory.join(format!("ntpguard.{}.sock", guard.id()));
    let (from, to) = (roots.display().to_string(), link.display().to_string());
    process::run(as_user(&["ln", "-sf", &from, &to]))?;
    let before = (state(directory)?, state(&roots)?);
    thread::sleep(ROUND);
    wait_heard(&guard, USED)?;
    ensure!(fs::read_link(&link)? == roots, "the link has gone");
    ensure!(
        (state(directory)?, state(&roots)?) == before,
        "{:?} was {before:?}",
        (state(directory)?, state(&roots)?)
    );
    Ok(())
}

/// What changes with a directory's entries, or a file's mode or owner.
fn state(path: &Path) -> Result<(u32, u32, i64, i64)> {
    let metadata = fs::metadata(path)?;
    Ok((
        metadata.mode(),
        metadata.uid(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    ))
}

/// It is asked neither over its socket, which both namespaces see, nor at a port.
#[test]
fn a_chronyd_of_another_network_namespace_is_not_asked() -> Result<()> {
    let lab = Lab::new()?;
    let elsewhere = Namespace::new("elsewhere")?;
    let theirs = Chronyd::start(&elsewhere, &client(FORGED), None)?;
    let directory = theirs.config();
    let directory = directory.parent().context("no directory")?;
    let _ours = Chronyd::start(&lab.inside.namespace, &client(USED), None)?;
    let socket = format!("bindcmdaddress {}\n", directory.join("socket").display());
    let source = ConfigFile::chrony(&socket)?;
    let guard = lab.guard().source(source.path()).ready()?;
    wait_heard(&guard, USED)?;
    ensure!(!granted(&guard, FORGED)?, "a server of another namespace");
    Ok(())
}

#[test]
fn a_port_whose_daemon_has_gone_is_not_asked() -> Result<()> {
    let lab = Lab::new()?;
    let source = ConfigFile::chrony("")?;
    let guard = lab.guard().source(source.path()).ready()?;
    let chronyd = Chronyd::start(&lab.inside.namespace, &client(USED), None)?;
    wait_heard(&guard, USED)?;
    // What takes its place has root's port and is no chronyd.
    drop(chronyd);
    let counted = counting(&lab.inside.namespace, 323)?;
    for _ in 0..2 {
        guard.json(&["allowlist", "update", "--json"])?;
        thread::sleep(Duration::from_secs(1));
    }
    let mut bytes = [0; 64];
    let received = counted.recv(&mut bytes);
    ensure!(received.is_err(), "asked: {received:?}");
    Ok(())
}

/// A socket at this port of the namespace's loopback.
fn counting(namespace: &Namespace, port: u16) -> Result<std::net::UdpSocket> {
    let address = (IpAddr::from([127, 0, 0, 1]), port);
    let socket = eventually(HEARD, "the port", || {
        namespace.enter(|| Ok(std::net::UdpSocket::bind(address)?))
    })?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Serves an ntpd-rs's account of itself on the socket that is its argument.
const IMPOSTOR: &str = r#"
import os, socket, struct, sys
data = b'{"sources":[{"name":"x","address":"203.0.113.66:123"}]}'
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
server.listen()
print("listens", flush=True)
while True:
    client, _ = server.accept()
    print("asked", flush=True)
    try:
        client.sendall(struct.pack(">Q", len(data)) + data)
    except OSError:
        pass
    client.close()
"#;

/// A guard whose source names a socket that `serve` serves believes nothing of it.
fn is_not_believed(serve: impl Fn(&str) -> Command) -> Result<()> {
    let lab = Lab::new()?;
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777))?;
    let socket = directory.path().join("observe");
    let socket = socket.display().to_string();
    let mut impostor = Process::spawn(serve(&socket))?;
    eventually(HEARD, "the impostor", || {
        ensure!(
            impostor.stdout().contains("listens"),
            "{}",
            impostor.story()
        );
        Ok(())
    })
    .map_err(|error| impostor.explain(error))?;
    // A real one runs, too, so that ntpd-rs is asked at all.
    let stand_ins = StandIns::new()?;
    let _ntpd_rs = stand_ins.start(&lab.inside.namespace, "ntp-daemon")?;
    let observability = format!("[observability]\nobservation-path = \"{socket}\"\n");
    let source = ConfigFile::named("ntp.toml", &observability)?;
    let guard = lab.guard().source(source.path()).ready()?;
    eventually(HEARD, "a word about the impostor", || {
        guard.json(&["allowlist", "update", "--json"])?;
        ensure!(!granted(&guard, FORGED)?, "believed");
        let inventory = guard.json(&["sources", "--json"])?;
        let silent = inventory["silent"].as_array().context("no list")?;
        let is_named = |silent: &&Value| {
            let why = silent["why"].as_str().unwrap_or_default();
            silent["daemon"] == "ntpd-rs" && why.contains("a process other than")
        };
        ensure!(silent.iter().any(|silent| is_named(&silent)), "{inventory}");
        Ok(())
    })?;
    ensure!(impostor.stdout().contains("asked"), "nothing connected");
    for _ in 0..3 {
        guard.json(&["allowlist", "update", "--json"])?;
    }
    let lines = guard.stderr().matches("a process other than").count();
    ensure!(lines == 1, "{lines} lines: {}", guard.stderr());
    Ok(())
}

#[test]
fn a_users_observation_socket_is_not_believed() -> Result<()> {
    is_not_believed(|socket| as_user(&["/usr/bin/python3", "-c", IMPOSTOR, socket]))
}

#[test]
fn an_observation_socket_of_roots_is_not_believed_unless_it_is_ntpd_rs() -> Result<()> {
    is_not_believed(|socket| {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", IMPOSTOR, socket]);
        command
    })
}

/// timesyncd itself, with the name on the bus, in another network namespace than the guard's.
#[test]
fn a_timesyncd_of_another_network_namespace_is_not_believed_on_the_bus() -> Result<()> {
    let lab = Lab::new()?;
    let elsewhere = Namespace::new("elsewhere")?;
    let bus = Bus::start()?;
    let setup = Setup::new(&format!("[Time]\nNTP={FORGED}\n"), None)?;
    let _theirs = Timesyncd::start_on(&elsewhere, setup, &bus)?;
    // Another runs here, too, so that timesyncd is asked at all.
    let stand_ins = StandIns::new()?;
    let _ours = stand_ins.start(&lab.inside.namespace, "systemd-timesyncd")?;
    let guard = lab.guard().bus(&bus).ready()?;
    eventually(HEARD, "a word about timesyncd", || {
        // It fails where the machine's own configuration has names: there is no DNS here.
        guard.cli(&["allowlist", "update"])?;
        let inventory = guard.json(&["sources", "--json"])?;
        let silent = inventory["silent"].as_array().context("no list")?;
        let is_named = |silent: &&Value| {
            let why = silent["why"].as_str().unwrap_or_default();
            silent["daemon"] == "systemd-timesyncd" && why.contains("a process other than")
        };
        ensure!(silent.iter().any(|silent| is_named(&silent)), "{inventory}");
        ensure!(!inventory.to_string().contains(FORGED), "{inventory}");
        Ok(())
    })
}
