//! The guard's opinion of who is served and the daemon's own, over random configurations.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use ipnet::IpNet;
use ntpguard::sources::Kind;
use ntpguard_common::wire::ntp;
use ntpguard_tests::{
    config::ConfigFile,
    daemons::{chrony::Chronyd, ntpd_rs::NtpdRs, ntpsec::Ntpd, openntpd::OpenNtpd},
    namespace::Namespace,
    packets::{
        frame::{self, Ethernet},
        ntp::Message,
        raw::RawSocket,
        recorder::Recorder,
    },
    switch::{Host, Switch},
};

use super::{
    networks::{addresses, networks, unicast},
    opinion::Opinion,
};

/// How long a daemon may take to answer.
const SOON: Duration = Duration::from_secs(10);

/// Configurations for each daemon, and addresses for each of them.
const CHRONY: (usize, usize) = (25, 40);
const NTPSEC: (usize, usize) = (14, 72);
const NTPD_RS: (usize, usize) = (10, 100);

/// What came of the comparison.
#[derive(Default)]
struct Score {
    asked: usize,
    served: usize,
    differing: Vec<String>,
}

impl Score {
    fn add(&mut self, address: IpAddr, daemon: bool, guard: bool, config: &str) {
        self.asked += 1;
        self.served += usize::from(daemon);
        if daemon != guard {
            self.differing.push(format!(
                "{address}: the daemon says {daemon}, the guard {guard}, by\n{config}"
            ));
        }
    }

    /// Fails unless the two always agreed, and had something to disagree about.
    fn settle(self, seed: u64) -> Result<()> {
        let Self {
            asked,
            served,
            differing,
        } = self;
        eprintln!("{served} of {asked} addresses are served, seed {seed}");
        ensure!(
            differing.is_empty(),
            "seed {seed}: {} of {asked} differ:\n{}",
            differing.len(),
            differing.join("\n")
        );
        ensure!(
            asked >= 1_000 && served >= asked / 10 && served <= asked * 9 / 10,
            "seed {seed}: {served} of {asked} are served"
        );
        Ok(())
    }
}

/// A new seed for each run, told where it matters; `NTPGUARD_SEED` gives one again.
fn seed() -> Result<u64> {
    match std::env::var("NTPGUARD_SEED") {
        Ok(seed) => seed.parse().context("NTPGUARD_SEED is no number"),
        Err(_) => Ok(fastrand::u64(..)),
    }
}

/// Lines as people write them: with and without `all`, whole networks and single hosts.
fn chrony_config(random: &mut Rng, networks: &[IpNet]) -> String {
    let mut lines = Vec::new();
    for network in networks {
        let verb = if random.u8(..5) < 3 { "allow" } else { "deny" };
        let all = if random.u8(..6) == 0 { " all" } else { "" };
        let subnet = match network {
            IpNet::V4(v4) if v4.prefix_len() == 16 => {
                let [a, b, ..] = v4.network().octets();
                format!("{a}.{b}")
            }
            IpNet::V4(v4) if v4.prefix_len() == 24 => {
                let [a, b, c, _] = v4.network().octets();
                format!("{a}.{b}.{c}")
            }
            network if network.prefix_len() == network.max_prefix_len() => {
                network.addr().to_string()
            }
            network => network.to_string(),
        };
        lines.push(format!("{verb}{all} {subnet}\n"));
    }
    let config = lines.concat();
    match random.u8(..6) {
        0 => "allow\n".to_owned() + &config,
        1 => "allow 0/0\n".to_owned() + &config,
        2 => config + "deny all\n" + "allow 192.0.2.1\n",
        _ => config,
    }
}

#[test]
fn chronyd_and_the_guard_agree_on_who_is_served() -> Result<()> {
    let seed = seed()?;
    let mut random = Rng::with_seed(seed);
    let namespace = Namespace::new("chronyd")?;
    let mut guard = Opinion::new()?;
    let mut score = Score::default();
    let (configs, each) = CHRONY;
    for _ in 0..configs {
        let networks = networks(&mut random);
        let config = chrony_config(&mut random, &networks);
        let chronyd = Chronyd::start(&namespace, &config, None)?;
        guard.read(Kind::Chrony, &chronyd.config())?;
        let addresses = addresses(&mut random, &networks, each);
        let commands: Vec<String> = addresses.iter().map(|a| format!("accheck {a}")).collect();
        let mut arguments = vec!["-m"];
        arguments.extend(commands.iter().map(String::as_str));
        let printed = chronyd.chronyc(&arguments)?;
        let answers: Vec<bool> = printed
            .lines()
            .filter_map(|line| match line.split_whitespace().next() {
                Some("208") => Some(true),
                Some("209") => Some(false),
                _ => None,
            })
            .collect();
        ensure!(answers.len() == addresses.len(), "{printed}");
        for (address, daemon) in addresses.into_iter().zip(answers) {
            score.add(address, daemon, guard.serves(address)?, &config);
        }
    }
    score.settle(seed)
}

/// `restrict` lines, the most specific of which decides.
fn ntpsec_config(random: &mut Rng, networks: &[IpNet]) -> String {
    const FLAGS: [&str; 9] = [
        "",
        "",
        "noquery",
        "nomodify noquery",
        "nomodify nopeer",
        "noserve",
        "noserve noquery",
        "ignore",
        "ignore nomodify",
    ];
    let flags = |random: &mut Rng| FLAGS[random.usize(..FLAGS.len())];
    let default = match random.u8(..4) {
        0 => String::new(),
        1 => format!("restrict default {}\n", flags(random)),
        2 => "restrict default ignore\n".to_owned(),
        _ => "restrict default noserve\n".to_owned(),
    };
    let mut lines = vec![default];
    for network in networks {
        let flags = flags(random);
        let whom = match network {
            IpNet::V4(v4) if random.bool() => format!("{} mask {}", v4.network(), v4.netmask()),
            network if network.prefix_len() == network.max_prefix_len() => {
                network.addr().to_string()
            }
            network => network.to_string(),
        };
        lines.push(format!("restrict {whom} {flags}\n"));
    }
    lines.concat()
}

/// A server, and a host that can pretend to be anybody: all others are reached by way of it.
struct Scene {
    _switch: Switch,
    server: Host,
    anybody: Host,
    wire: RawSocket,
}

impl Scene {
    fn new() -> Result<Self> {
        let switch = Switch::new()?;
        let (server, anybody) = (switch.host("server", 1)?, switch.host("anybody", 2)?);
        let [v4, v6] = anybody.addresses().map(|address| address.to_string());
        let namespace = &server.namespace;
        namespace.ip(&["route", "add", "default", "via", &v4])?;
        namespace.ip(&["-6", "route", "add", "default", "via", &v6])?;
        for address in anybody.addresses() {
            server.port.add_neighbour(address, anybody.port.mac)?;
        }
        Ok(Self {
            _switch: switch,
            wire: RawSocket::open(&anybody.port)?,
            server,
            anybody,
        })
    }

    fn server_for(&self, client: IpAddr) -> IpAddr {
        let [v4, v6] = self.server.addresses();
        if client.is_ipv4() { v4 } else { v6 }
    }

    fn ask(&self, client: IpAddr) -> Result<()> {
        let packet = frame::udp(
            SocketAddr::new(client, 40_123),
            SocketAddr::new(self.server_for(client), ntp::PORT),
            &Message::request(1).to_vec(),
        )?;
        let ethernet = Ethernet {
            from: self.anybody.port.mac,
            to: self.server.port.mac,
            tags: &[],
        };
        self.wire.send(&ethernet.wrap(&packet))
    }

    /// Those who are answered. The daemon works in order, at least within a family, so that once those
    /// who surely are have got their answers, all have.
    fn answered(&self, clients: &BTreeSet<IpAddr>, surely: &[IpAddr]) -> Result<BTreeSet<IpAddr>> {
        let recorder = Recorder::open(&self.anybody.port)?;
        for client in clients.iter().chain(surely) {
            self.ask(*client)?;
        }
        let mut answered = BTreeSet::new();
        while !surely.iter().all(|client| answered.contains(client)) {
            let reply = recorder.next(SOON, |datagram| {
                datagram.from.port() == ntp::PORT && datagram.to.port() == 40_123
            })?;
            answered.insert(reply.to.ip());
        }
        Ok(answered)
    }
}

#[test]
fn ntpsec_and_the_guard_agree_on_who_is_served() -> Result<()> {
    let seed = seed()?;
    let mut random = Rng::with_seed(seed);
    let scene = Scene::new()?;
    let mut guard = Opinion::new()?;
    let mut score = Score::default();
    let (configs, each) = NTPSEC;
    for _ in 0..configs {
        let networks = networks(&mut random);
        let config = ntpsec_config(&mut random, &networks);
        let surely = scene
            .anybody
            .addresses()
            .map(|address| format!("restrict {address}\n"))
            .concat();
        let ntpd = Ntpd::start(&scene.server.namespace, &(config.clone() + &surely), None)?;
        let file = ConfigFile::ntp(&config)?;
        guard.read(Kind::NtpConf, file.path())?;
        let addresses = addresses(&mut random, &networks, each);
        let answered = scene.answered(&addresses, &scene.anybody.addresses())?;
        drop(ntpd);
        for address in addresses {
            let daemon = answered.contains(&address);
            score.add(address, daemon, guard.serves(address)?, &config);
        }
    }
    score.settle(seed)
}

/// Lists of whom to serve and whom not; a denial goes before a permission, whichever is wider. Whoever
/// is surely served is in the first and not in the second. There is a section for each family, since
/// a socket for both takes IPv4's clients for IPv6's, and finds none of them in a list of IPv4's.
fn ntpd_rs_config(random: &mut Rng, networks: &[IpNet], scene: &Scene) -> String {
    let list = |name: &str, networks: &[IpNet]| {
        let quoted: Vec<String> = networks.iter().map(|net| format!("\"{net}\"")).collect();
        let quoted = quoted.join(", ");
        format!("[server.{name}]\nfilter = [{quoted}]\naction = \"ignore\"\n")
    };
    let surely = scene.anybody.addresses();
    let (mut denied, mut allowed) = (Vec::new(), surely.map(IpNet::from).to_vec());
    for network in networks {
        if random.u8(..3) == 0 && !surely.iter().any(|client| network.contains(client)) {
            denied.push(*network);
        } else {
            allowed.push(*network);
        }
    }
    let mut lists = vec![list("allowlist", &allowed), list("denylist", &denied)];
    lists.retain(|_| random.u8(..4) > 0);
    let lists = lists.concat();
    scene
        .server
        .addresses()
        .map(|address| {
            let listen = SocketAddr::new(address, ntp::PORT);
            format!("[[server]]\nlisten = \"{listen}\"\n{lists}")
        })
        .concat()
}

#[test]
fn ntpd_rs_and_the_guard_agree_on_who_is_served() -> Result<()> {
    let seed = seed()?;
    let mut random = Rng::with_seed(seed);
    let scene = Scene::new()?;
    let mut guard = Opinion::new()?;
    let mut score = Score::default();
    let (configs, each) = NTPD_RS;
    for _ in 0..configs {
        let networks = networks(&mut random);
        let config = ntpd_rs_config(&mut random, &networks, &scene);
        let daemon = NtpdRs::start(&scene.server.namespace, &config, None)?;
        guard.read(Kind::NtpdRs, &daemon.config())?;
        let addresses = addresses(&mut random, &networks, each);
        let answered = scene.answered(&addresses, &scene.anybody.addresses())?;
        drop(daemon);
        for address in addresses {
            let daemon = answered.contains(&address);
            score.add(address, daemon, guard.serves(address)?, &config);
        }
    }
    score.settle(seed)
}

/// It serves whoever asks it at an address that it listens on, and has no lists.
#[test]
fn openntpd_and_the_guard_agree_on_the_families_that_are_served() -> Result<()> {
    let scene = Scene::new()?;
    let mut random = Rng::with_seed(seed()?);
    let mut guard = Opinion::new()?;
    let [server_v4, server_v6] = scene.server.addresses();
    let [v4, v6] = scene.anybody.addresses();
    for (config, surely) in [
        ("listen on *\n".to_owned(), vec![v4, v6]),
        (format!("listen on {server_v4}\n"), vec![v4]),
        (format!("listen on {server_v6}\n"), vec![v6]),
    ] {
        let daemon = OpenNtpd::start(&scene.server.namespace, &config, None)?;
        guard.read(Kind::OpenNtpd, &daemon.config())?;
        let clients: BTreeSet<IpAddr> = (0..40).map(|_| unicast(&mut random)).collect();
        let answered = scene.answered(&clients, &surely)?;
        for client in clients {
            let daemon = answered.contains(&client);
            let guard = guard.serves(client)?;
            ensure!(
                daemon == guard,
                "{client}: the daemon says {daemon}, the guard {guard}, by {config}"
            );
        }
    }
    Ok(())
}
