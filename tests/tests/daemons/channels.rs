//! What a daemon says it uses is granted while it says so.

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    bus::Bus,
    config::ConfigFile,
    daemons::{
        Setup,
        chrony::Chronyd,
        ntpd_rs::NtpdRs,
        ntpsec::Ntpd,
        openntpd::OpenNtpd,
        stand_in::StandIns,
        timesyncd::{self, Timesyncd},
    },
    guard::Guard,
    wait::eventually,
};
use serde_json::Value;

use super::{HEARD, Network, SYNCHRONISED, wait_granted};

/// Waits until a daemon has got a reply from `address` through the guard.
fn wait_in_use(guard: &Guard, daemon: &str, address: IpAddr) -> Result<Value> {
    eventually(HEARD, "the daemon's account", || {
        let inventory = guard.json(&["sources", "--json"])?;
        let used = inventory["in_use"].as_array().context("no list")?;
        let found = used.iter().any(|used| {
            used["daemon"] == daemon && used["address"] == address.to_string().as_str()
        });
        ensure!(found, "{inventory}");
        Ok(inventory)
    })
}

#[test]
fn a_server_added_with_chronyc_is_admitted_until_it_is_deleted() -> Result<()> {
    let network = Network::new()?;
    let [added, _] = network.more;
    let mut chronyd = Chronyd::start(
        &network.client.namespace,
        "cmdport 323\n",
        Some(network.dns.address()),
    )?;
    let guard = network.guard().ready()?;
    let line = format!("{added} iburst minpoll 0 maxpoll 0");
    let words: Vec<&str> = ["add", "server"]
        .into_iter()
        .chain(line.split(' '))
        .collect();
    chronyd.chronyc(&words)?;
    wait_granted(&guard, added, Some(&["daemon"]))?;
    chronyd.wait_synchronised(SYNCHRONISED)?;
    let inventory = wait_in_use(&guard, "chronyd", added)?;
    ensure!(inventory["in_use"][0]["named"] == false, "{inventory}");
    chronyd.chronyc(&["delete", &added.to_string()])?;
    wait_granted(&guard, added, None)
}

#[test]
fn a_server_configured_with_ntpq_is_admitted_until_it_is_taken_back() -> Result<()> {
    let network = Network::new()?;
    let [added, _] = network.more;
    let keys = tempfile::NamedTempFile::new()?;
    fs::write(keys.path(), "1 MD5 secret\n")?;
    let config = format!(
        "keys {}\ntrustedkey 1\ncontrolkey 1\n",
        keys.path().display()
    );
    let ntpd = Ntpd::start(
        &network.client.namespace,
        &config,
        Some(network.dns.address()),
    )?;
    let guard = network.guard().ready()?;
    let configure = |line: &str| {
        let line = format!(":config {line}");
        let keys = keys.path().to_string_lossy();
        ntpd.ntpq(&["-a", "1", "-k", &keys, "-c", &line])
    };
    let said = configure(&format!("server {added} iburst minpoll 0 maxpoll 3"))?;
    ensure!(said.contains("Config Succeeded"), "{said}");
    wait_granted(&guard, added, Some(&["daemon"]))?;
    eventually(SYNCHRONISED, "a reply through the guard", || {
        let peers = ntpd.peers()?;
        ensure!(peers.iter().any(|peer| peer.reach != 0), "{peers:?}");
        Ok(())
    })?;
    wait_in_use(&guard, "ntpd", added)?;
    configure(&format!("unpeer {added}"))?;
    wait_granted(&guard, added, None)
}

#[test]
fn what_ntpd_rs_observes_is_in_use_and_what_it_does_not_use_differs() -> Result<()> {
    let network = Network::new()?;
    let used = network.server.addresses();
    let config = NtpdRs::servers(&used);
    let _ntpd_rs = NtpdRs::start(
        &network.client.namespace,
        &config,
        Some(network.dns.address()),
    )?;
    let guard = network.guard().ready()?;
    for address in used {
        wait_in_use(&guard, "ntpd-rs", address)?;
        wait_granted(&guard, address, Some(&["config", "daemon"]))?;
    }
    let inventory = guard.json(&["sources", "--json"])?;
    let its_own = |named: &&Value| {
        named["place"]["file"]
            .as_str()
            .is_some_and(|file| file.ends_with("ntp.conf"))
    };
    let named = inventory["named"].as_array().into_iter().flatten();
    let named: Vec<&Value> = named.filter(its_own).collect();
    ensure!(named.len() == used.len(), "{inventory}");
    ensure!(
        named.iter().all(|named| named["in_use"] == true),
        "{inventory}"
    );
    let text = guard.cli(&["sources"])?;
    let text = String::from_utf8_lossy(&text.stdout);
    let unused = format!("{} is configured but not in use", used[0]);
    ensure!(!text.contains(&unused) && text.contains("yes"), "{text}");
    for line in text.lines() {
        ensure!(line.chars().count() <= 80, "{line}");
    }
    Ok(())
}

/// Only its own ntpctl could ask it, and the guard executes no other program.
#[test]
fn openntpd_is_not_asked_and_sources_says_so() -> Result<()> {
    let network = Network::new()?;
    let config = "servers time.test\n";
    let namespace = &network.client.namespace;
    let mut openntpd = OpenNtpd::start(namespace, config, Some(network.dns.address()))?;
    let guard = network.guard().ready()?;
    eventually(HEARD, "a word about OpenNTPD", || {
        let text = guard.cli(&["sources"])?;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        ensure!(text.contains("silent    OpenNTPD: only ntpctl"), "{text}");
        Ok(())
    })?;
    // Its file is enough, and so are its requests.
    openntpd.wait_replies(&network.server.addresses(), SYNCHRONISED)
}

/// Waits until `sources` says that chronyd is not heard, for this reason.
fn wait_silent(guard: &Guard, reason: &str) -> Result<()> {
    eventually(HEARD, "a word about chronyd", || {
        let inventory = guard.json(&["sources", "--json"])?;
        let silent = &inventory["silent"][0];
        let why = silent["why"].as_str().unwrap_or_default();
        ensure!(
            silent["daemon"] == "chronyd" && why.contains(reason),
            "{inventory}"
        );
        Ok(())
    })
}

#[test]
fn a_chronyd_without_a_command_port_is_not_asked_and_sources_says_so() -> Result<()> {
    let network = Network::new()?;
    let config = "server time.test iburst minpoll 0 maxpoll 0\n";
    let namespace = &network.client.namespace;
    let mut chronyd = Chronyd::start(namespace, config, Some(network.dns.address()))?;
    let guard = network.guard().ready()?;
    wait_silent(&guard, "cmdport 0")?;
    chronyd.wait_synchronised(SYNCHRONISED).map(drop)
}

#[test]
fn a_port_that_any_user_can_take_is_not_asked() -> Result<()> {
    let network = Network::new()?;
    let namespace = &network.client.namespace;
    namespace.set("net/ipv4/ip_unprivileged_port_start", "300")?;
    let config = "cmdport 323\nserver time.test iburst minpoll 0 maxpoll 0\n";
    let mut chronyd = Chronyd::start(namespace, config, Some(network.dns.address()))?;
    let guard = network.guard().ready()?;
    wait_silent(&guard, "any user can listen on port 323")?;
    chronyd.wait_synchronised(SYNCHRONISED).map(drop)
}

/// Only D-Bus tells of the servers that are built in, as of any that no file names.
#[test]
fn what_timesyncd_tells_on_dbus_is_admitted() -> Result<()> {
    let network = Network::new()?;
    let bus = Bus::start()?;
    // What no file that the guard reads says: the servers of `timedatectl ntp-servers`.
    let setup = Setup::new("[Time]\nNTP=\nFallbackNTP=\n", Some(network.dns.address()))?;
    let timesyncd = Timesyncd::start_on(&network.client.namespace, setup, &bus)?;
    let accounts = ConfigFile::guard(timesyncd::ACCOUNTS)?;
    let guard = network.guard().bus(&bus).config(accounts.path()).ready()?;
    eventually(HEARD, "timesyncd on the bus", || {
        bus.call(&[
            "--dest=org.freedesktop.timesync1",
            "/org/freedesktop/timesync1",
            "org.freedesktop.timesync1.Manager.SetRuntimeNTPServers",
            "array:string:time.test",
        ])
    })?;
    eventually(SYNCHRONISED, "the time for timesyncd", || {
        let log = timesyncd.log();
        ensure!(log.contains("Contacted time server"), "{log}");
        Ok(())
    })?;
    eventually(HEARD, "timesyncd's server", || {
        let inventory = guard.json(&["sources", "--json"])?;
        let used = inventory["in_use"].as_array().context("no list")?;
        ensure!(
            used.iter()
                .any(|used| used["name"] == "time.test" && used["selected"] == true),
            "{inventory}"
        );
        Ok(())
    })
}

/// Answers every question with the question itself, which no daemon does.
struct Echo {
    stopped: Arc<AtomicBool>,
}

impl Echo {
    fn start(network: &Network, port: u16) -> Result<Self> {
        let socket = network
            .client
            .namespace
            .enter(|| Ok(UdpSocket::bind(("127.0.0.1", port))?))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        std::thread::spawn(move || {
            let mut bytes = [0; 1500];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut bytes) {
                    drop(socket.send_to(&bytes[..length], from));
                }
            }
        });
        Ok(Self { stopped })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_daemon_that_answers_nonsense_costs_a_line() -> Result<()> {
    let network = Network::new()?;
    let [named, other] = network.server.addresses();
    // The daemons run, and others have their ports.
    let stand_ins = StandIns::new()?;
    let namespace = &network.client.namespace;
    let _ntpd = stand_ins.start(namespace, "ntpd")?;
    let _chronyd = stand_ins.start(namespace, "chronyd")?;
    let _echoes = [Echo::start(&network, 123)?, Echo::start(&network, 323)?];
    let ntp = ConfigFile::ntp(&format!("server {named}\n"))?;
    let chrony = ConfigFile::chrony(&format!("server {other}\n"))?;
    let guard = network.guard();
    let guard = guard.source(ntp.path()).source(chrony.path()).ready()?;
    let complaints = |daemon: &str| {
        let log = guard.stderr();
        log.matches(&format!("cannot query {daemon}: ")).count()
    };
    // Of more than one round.
    eventually(HEARD, "two rounds", || {
        guard.json(&["allowlist", "update", "--json"])?;
        let heard = [complaints("ntpd"), complaints("chronyd")];
        ensure!(heard == [1, 1], "{heard:?}: {}", guard.stderr());
        Ok(())
    })?;
    guard.json(&["allowlist", "update", "--json"])?;
    guard.json(&["allowlist", "update", "--json"])?;
    for address in [named, other] {
        wait_granted(&guard, address, Some(&["config"]))?;
    }
    ensure!(
        complaints("ntpd") == 1 && complaints("chronyd") == 1,
        "{}",
        guard.stderr()
    );
    Ok(())
}
