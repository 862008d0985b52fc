//! The command line as it is typed. What it means is worked out by each command.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use ntpguard::{
    allowlist::claim::parse_role,
    datapath::{AttachMode, Mode},
    scope::{ScopeError, Scoped},
    sources::Source,
    trust::Trust,
};
use ntpguard_common::reason::Reason;

use super::tracking::{LearnArg, Track, ZeroTransmit, window};

/// An XDP guard for NTP: UDP port 123 admits only what this host asked for or agreed to serve.
#[derive(Debug, Parser)]
#[command(
    name = "ntpguard",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) guard: GuardArgs,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which guard is meant: several can live side by side.
#[derive(Clone, Debug, Args)]
pub(crate) struct GuardArgs {
    /// Directory on a BPF file system for the pinned maps, programs and links.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "NTPGUARD_PIN_DIR",
        default_value = "/sys/fs/bpf/ntpguard"
    )]
    pub(crate) pin_dir: PathBuf,
    /// Directory for the state file and the control socket.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "NTPGUARD_STATE_DIR",
        default_value = "/var/lib/ntpguard"
    )]
    pub(crate) state_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Guard interfaces until stopped.
    Run(Box<RunArgs>),
    /// Tell how the guard is.
    Status(StatusArgs),
    /// Tell which time sources are named, which are in use, and what differs.
    Sources(SourcesArgs),
    /// Tell of packets as they are judged: some of each reason, and how many there were.
    Events(EventsArgs),
    /// Tell who sends most of what is not admitted.
    Top(TopArgs),
    /// Read and change who is allowed what.
    #[command(subcommand)]
    Allowlist(AllowlistCommand),
    /// Run a time daemon in a cgroup of its own, by which the guard knows it, where the service
    /// manager makes none: runit, s6, busybox init.
    Exec(ExecArgs),
    /// Write the program as xdp-loader takes it, to run before or after programs of others; `run
    /// --attach external` keeps its tables.
    Object(ObjectArgs),
    /// Detach everything and remove all pins; the state file stays.
    Unload,
}

#[derive(Clone, Debug, Default, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct RunArgs {
    /// Interface to guard; may be given several times [default: the default route's].
    #[arg(short, long = "interface", value_name = "IF")]
    pub(crate) interfaces: Vec<String>,
    /// Configuration of a time daemon to read, as FILE or DIALECT:FILE; may be given several times
    /// [default: those that are found where the distributions put them, and those that running
    /// daemons were started with].
    #[arg(short, long = "source", value_name = "FILE")]
    pub(crate) sources: Vec<Source>,
    /// Whether packets are dropped, or only counted [default: enforce].
    #[arg(long, value_enum)]
    pub(crate) mode: Option<Mode>,
    /// How to attach: native XDP in the driver, tc in the stack behind whatever XDP program is there,
    /// or generic XDP in the stack; `auto` tries them in this order; `external` leaves it to
    /// xdp-loader, which takes what `ntpguard object` writes [default: auto].
    #[arg(long, value_enum)]
    pub(crate) attach: Option<AttachMode>,
    /// Whether a reply must answer a request that this host sent; `off` where requests leave by a
    /// path that is not guarded [default: strict].
    #[arg(long, value_enum)]
    pub(crate) track: Option<Track>,
    /// How many seconds after its request a reply is admitted: longer for daemons that wait longer, which
    /// a forger then has to guess in as well [default: 16].
    #[arg(long, value_name = "SECONDS", value_parser = window())]
    pub(crate) reply_window: Option<u32>,
    /// Whose requests admit their replies, whatever is allowed: the time daemon's, nobody's, or,
    /// on gateways, everybody's [default: trusted].
    #[arg(long, value_enum)]
    pub(crate) learn: Option<LearnArg>,
    /// Sender to trust instead of the time daemons that are found: a systemd unit, or the path of a
    /// cgroup, which need not exist yet, with every process in it; may be given several times.
    #[arg(long, value_name = "UNIT|CGROUP")]
    pub(crate) trust: Vec<Trust>,
    /// Uid whose sockets are trusted too, never root's; may be given several times. Beware: a
    /// container's processes can have it as well.
    #[arg(long, value_name = "UID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) trust_uid: Vec<u32>,
    /// Whether a request without a transmit timestamp may be answered [default: admit].
    #[arg(long, value_enum)]
    pub(crate) zero_transmit: Option<ZeroTransmit>,
    /// Requests a second that each client address may send, an IPv6 client being taken to have a /64,
    /// or `off`; 16 seconds' worth may come at once, and of more one in four is let through, up to 16
    /// times the rate [default: 64].
    #[arg(long, value_name = "N|off", value_parser = parse_rate)]
    pub(crate) client_rate: Option<u32>,
    /// Requests a second that are admitted of all clients together, or `off`; a second's worth may come
    /// at once, and none beyond [default: 250000].
    #[arg(long, value_name = "N|off", value_parser = parse_rate)]
    pub(crate) total_rate: Option<u32>,
    /// DNS server to ask instead of the system's; may be given several times.
    #[arg(long = "resolver", value_name = "IP[:PORT]", value_parser = parse_resolver)]
    pub(crate) resolvers: Vec<SocketAddr>,
    /// Serve everybody where the time daemon's configuration would do so without saying it.
    #[arg(long)]
    pub(crate) serve: bool,
    /// Most entries of each allowlist table [default: 65536].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) table_size: Option<u32>,
    /// Leave everything attached when the command ends.
    #[arg(long)]
    pub(crate) persist: bool,
    /// Take over from a running daemon of this guard.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Configuration file [default: /etc/ntpguard/ntpguard.toml where it exists].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Check the configuration and the sources, print what they come to, and guard nothing.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ObjectArgs {
    /// File to write.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Whether packets are dropped, or only counted [default: enforce].
    #[arg(long, value_enum)]
    pub(crate) mode: Option<Mode>,
    /// Whether a reply must answer a request [default: strict].
    #[arg(long, value_enum)]
    pub(crate) track: Option<Track>,
    /// How many seconds after its request a reply is admitted [default: 16].
    #[arg(long, value_name = "SECONDS", value_parser = window())]
    pub(crate) reply_window: Option<u32>,
    /// Whose requests admit their replies [default: trusted].
    #[arg(long, value_enum)]
    pub(crate) learn: Option<LearnArg>,
    /// Whether a request without a transmit timestamp may be answered [default: admit].
    #[arg(long, value_enum)]
    pub(crate) zero_transmit: Option<ZeroTransmit>,
    /// Packets a second that one client is served, 0 for any number.
    #[arg(long, value_name = "N")]
    pub(crate) client_rate: Option<u32>,
    /// Packets a second that all clients together are served, 0 for any number.
    #[arg(long, value_name = "N")]
    pub(crate) total_rate: Option<u32>,
    /// For interfaces without Ethernet headers, such as tun and WireGuard.
    #[arg(long)]
    pub(crate) raw_ip: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ExecArgs {
    /// Name the cgroup /ntpguard.NAME [default: the command's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The command, which takes the place of this process, and its arguments.
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Wait so long for the guard to be attached and every name to have been resolved once.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) wait: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct SourcesArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Print JSON, a document a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Only packets of this reason, such as `unlisted`; may be given several times [default: all].
    #[arg(long = "reason", value_name = "REASON", value_parser = parse_reason)]
    pub(crate) reasons: Vec<Reason>,
    /// End after so many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AllowlistCommand {
    /// Print who is allowed what, and who vouches for it.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Grant roles to an address or prefix by hand; kept across restarts.
    Add {
        /// An address, such as 192.0.2.1 or fe80::1%eth0, or a prefix such as 192.0.2.0/24.
        #[arg(value_name = "ADDR|PREFIX", value_parser = parse_prefix)]
        prefix: Scoped<IpNet>,
        /// server, peer, broadcast, client, control, or none to deny; may be given several times.
        #[arg(long = "role", value_name = "ROLE", value_parser = check_role, default_value = "server")]
        roles: Vec<String>,
        /// How long, such as 90s, 15min or 2h [default: until removed].
        #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
        ttl: Option<u32>,
        /// Something to remember it by.
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        /// Let its replies be up to 96 bytes longer than the requests, with a MAC or an extension field
        /// that a request has not.
        #[arg(long)]
        allow_long_replies: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take back what was granted by hand.
    Remove {
        /// The address or prefix, as it was added.
        #[arg(value_name = "ADDR|PREFIX", value_parser = parse_prefix)]
        prefix: Scoped<IpNet>,
        /// Only this role; may be given several times [default: all].
        #[arg(long = "role", value_name = "ROLE", value_parser = check_role)]
        roles: Vec<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read the sources and resolve every name now; print what changed.
    Update {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

fn check_role(word: &str) -> Result<String, String> {
    parse_role(word)
        .map(|_| word.to_owned())
        .map_err(|error| error.to_string())
}

fn parse_reason(word: &str) -> Result<Reason, String> {
    let named = |reason: &&Reason| reason.name() == word;
    Reason::ALL.iter().find(named).copied().ok_or_else(|| {
        let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn parse_prefix(text: &str) -> Result<Scoped<IpNet>, String> {
    let host: Scoped<IpNet> = text.parse().map_err(|error| match error {
        ScopeError::Address => {
            "expected an address such as 192.0.2.1 or a prefix such as 2001:db8::/32".to_owned()
        }
        other => other.to_string(),
    })?;
    let prefix = host.address;
    if prefix.trunc() != prefix {
        return Err(format!(
            "{prefix} has bits set beyond its length; did you mean {} or {}?",
            prefix.trunc(),
            prefix.addr()
        ));
    }
    Ok(host)
}

fn parse_ttl(text: &str) -> Result<u32, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match u32::try_from(time.as_secs()) {
        Ok(0) => Err("shorter than a second".to_owned()),
        Ok(seconds) => Ok(seconds),
        Err(_) => Err("longer than 136 years".to_owned()),
    }
}

/// Reads packets a second; 0 stands for `off`, and is refused as a number.
pub(crate) fn parse_rate(text: &str) -> Result<u32, String> {
    const MOST: u32 = 100_000_000;
    if text == "off" {
        return Ok(0);
    }
    match text.parse() {
        Ok(rate) if (1..=MOST).contains(&rate) => Ok(rate),
        _ => Err(format!(
            "expected requests a second from 1 to {MOST}, or off, not {text:?}"
        )),
    }
}

/// Reads `IP` or `IP:PORT`; the port is DNS's unless said otherwise.
pub(crate) fn parse_resolver(text: &str) -> Result<SocketAddr, String> {
    const DNS: u16 = 53;
    if let Ok(address) = text.parse() {
        return Ok(SocketAddr::new(address, DNS));
    }
    text.parse()
        .map_err(|_| format!("expected IP, IP:PORT or [IP]:PORT, not {text:?}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_address_is_a_prefix_of_one() {
        assert_eq!(
            parse_prefix("192.0.2.1").unwrap(),
            "192.0.2.1/32".parse().unwrap()
        );
        assert_eq!(
            parse_prefix("2001:db8::/32").unwrap(),
            "2001:db8::/32".parse().unwrap()
        );
        assert!(
            parse_prefix("192.0.2.1/24")
                .unwrap_err()
                .contains("192.0.2.0/24")
        );
        assert!(parse_prefix("pool.ntp.org").is_err());
    }

    #[test]
    fn a_reason_is_one_of_those_there_are() {
        assert_eq!(parse_reason("zero-origin"), Ok(Reason::ZeroOrigin));
        assert!(parse_reason("Unlisted").unwrap_err().contains("unlisted"));
    }

    #[test]
    fn lifetimes_are_whole_seconds() {
        assert_eq!(parse_ttl("15min"), Ok(900));
        assert!(
            parse_ttl("10ms").is_err() && parse_ttl("-5s").is_err() && parse_ttl("900y").is_err()
        );
    }

    #[test]
    fn a_rate_is_a_number_or_off() {
        assert_eq!(parse_rate("64"), Ok(64));
        assert_eq!(parse_rate("off"), Ok(0));
        for wrong in ["0", "-1", "1.5", "100000001", "Off", ""] {
            assert!(parse_rate(wrong).unwrap_err().contains("off"), "{wrong}");
        }
    }

    #[test]
    fn a_resolver_has_dns_port_unless_told() {
        assert_eq!(
            parse_resolver("192.0.2.1").unwrap(),
            "192.0.2.1:53".parse().unwrap()
        );
        assert_eq!(
            parse_resolver("[::1]:5353").unwrap(),
            "[::1]:5353".parse().unwrap()
        );
        assert_eq!(parse_resolver("::1").unwrap(), "[::1]:53".parse().unwrap());
        assert!(parse_resolver("dns.example").is_err());
    }
}
