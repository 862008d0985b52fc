//! The command line as it is typed. What it means is worked out by each command.

mod allowlist;
mod examples;
mod hints;
mod policy;
mod run;
mod values;

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use ntpguard_common::reason::Reason;

pub(crate) use self::{
    allowlist::{AddArgs, AllowlistCommand, RemoveArgs},
    policy::PolicyArgs,
    run::RunArgs,
    values::parse_resolver,
};

/// The heading of the options that every command has.
const GLOBAL: &str = "Global options";

/// An XDP guard for NTP: admits only time traffic that this host asked for or agreed to serve.
#[derive(Debug, Parser)]
#[command(
    name = "ntpguard",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = examples::TOP_LEVEL
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) guard: GuardArgs,
    /// Increase verbosity (-vv for trace).
    #[arg(short, long, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line of this process, or ends it with what is wrong.
    pub(crate) fn from_command_line() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let error = hints::with_hint(error);
            error.format(&mut Self::command()).exit()
        })
    }
}

/// The guard that a command is about; several can run side by side.
#[derive(Clone, Debug, Args)]
pub(crate) struct GuardArgs {
    /// Directory on a BPF file system for the pinned maps, programs and links.
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "DIR",
        env = "NTPGUARD_PIN_DIR",
        default_value = "/sys/fs/bpf/ntpguard"
    )]
    pub(crate) pin_dir: PathBuf,
    /// Directory for the state file and the control socket.
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "DIR",
        env = "NTPGUARD_STATE_DIR",
        default_value = "/var/lib/ntpguard"
    )]
    pub(crate) state_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Guard network interfaces until stopped.
    ///
    /// Without options, guards the interface of the default route for the time daemons that are
    /// configured or running on this host. Stays in the foreground; SIGINT or SIGTERM ends it and
    /// detaches the guard. Options take precedence over the configuration file.
    #[command(after_help = examples::RUN)]
    Run(Box<RunArgs>),
    /// Show the guard's status.
    ///
    /// Shows the guarded interfaces, the counters, the trusted senders, each name, and the servers
    /// whose packets were rejected. Works without a running daemon, from what the kernel holds.
    #[command(after_help = examples::STATUS)]
    Status(StatusArgs),
    /// Compare configured time sources with those in use.
    #[command(after_help = examples::SOURCES)]
    Sources(JsonArgs),
    /// List and edit the allowlist.
    #[command(subcommand, after_help = examples::ALLOWLIST)]
    Allowlist(AllowlistCommand),
    /// Follow a sample of verdicts as packets arrive.
    ///
    /// Prints some packets of each reason; `+N` is the number of packets with the same source and
    /// reason since the line before that were not printed.
    #[command(after_help = examples::EVENTS)]
    Events(EventsArgs),
    /// Show the top senders of rejected packets.
    #[command(after_help = examples::TOP)]
    Top(JsonArgs),
    /// Run a time daemon in a cgroup of its own.
    ///
    /// The guard trusts a time daemon by its cgroup. Use this where the service manager creates
    /// none: runit, s6, busybox init.
    #[command(after_help = examples::EXEC)]
    Exec(ExecArgs),
    /// Write a BPF object for xdp-loader.
    ///
    /// The object can be chained before or after other XDP programs; `ntpguard run --attach external`
    /// maintains its maps.
    #[command(after_help = examples::OBJECT)]
    Object(ObjectArgs),
    /// Detach the guard and remove its pins.
    ///
    /// The state file stays. Stop a running daemon instead: it detaches when it ends.
    #[command(after_help = examples::UNLOAD)]
    Unload,
}

/// How a command prints.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ObjectArgs {
    /// File to write.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// For interfaces without Ethernet headers, such as tun and WireGuard.
    #[arg(long)]
    pub(crate) raw_ip: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ExecArgs {
    /// Name of the cgroup, /ntpguard.NAME [default: the command's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Command to execute in place of this process, with its arguments.
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
    #[command(flatten)]
    pub(crate) output: JsonArgs,
    /// Wait up to SECONDS until attached and all names are resolved.
    ///
    /// Exits with 1 if the time is up before that.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) wait: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Show only packets with this reason, such as `unlisted`; repeatable [default: all].
    #[arg(long = "reason", value_name = "REASON", value_parser = values::parse_reason)]
    pub(crate) reasons: Vec<Reason>,
    /// Exit after N events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Print JSON, one document per line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// All commands that can be run, with the commands of `allowlist`.
    fn verbs() -> Vec<clap::Command> {
        let mut cli = Cli::command();
        cli.build();
        let children = |command: &clap::Command| -> Vec<clap::Command> {
            let commands = command.get_subcommands();
            commands
                .filter(|command| command.get_name() != "help")
                .cloned()
                .collect()
        };
        let verbs = children(&cli);
        let below: Vec<_> = verbs.iter().flat_map(children).collect();
        [vec![cli], verbs, below].concat()
    }

    #[test]
    fn each_verb_has_two_examples_that_parse_as_that_verb() {
        for verb in verbs() {
            let help = verb
                .get_after_help()
                .unwrap_or_else(|| panic!("{}", verb.get_name()))
                .to_string();
            let examples: Vec<&str> = help
                .lines()
                .filter_map(|line| line.strip_prefix("    ntpguard "))
                .collect();
            assert!(examples.len() >= 2, "{}: {help}", verb.get_name());
            for example in examples {
                let words = example.split_whitespace();
                let parsed = Cli::try_parse_from(std::iter::once("ntpguard").chain(words));
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
                let name = verb.get_name();
                assert!(name == "ntpguard" || example.contains(name), "{example}");
            }
        }
    }

    #[test]
    fn options_of_a_verb_come_before_global_ones() {
        for mut verb in verbs() {
            let help = verb.render_long_help().to_string();
            let last = help.lines().filter(|line| {
                line.starts_with(|first: char| first.is_ascii_uppercase()) && line.ends_with(':')
            });
            let headings: Vec<&str> = last.collect();
            let global = headings
                .iter()
                .position(|heading| *heading == "Global options:");
            let from_global = global.map(|at| &headings[at..]);
            let end: &[&str] = &["Global options:", "Examples:"];
            assert_eq!(from_global, Some(end), "{}:\n{help}", verb.get_name());
        }
    }

    #[test]
    fn run_and_object_read_the_same_options_alike() {
        let policy = [
            "--mode",
            "monitor",
            "--track",
            "off",
            "--learn",
            "any",
            "--reply-window",
            "20",
            "--zero-transmit",
            "refuse",
            "--client-rate",
            "off",
            "--total-rate",
            "7",
        ];
        let parsed = |verb: &[&str]| {
            let line = [&["ntpguard"], verb, &policy].concat();
            match Cli::try_parse_from(line).unwrap().command {
                Command::Run(args) => args.policy,
                Command::Object(args) => args.policy,
                other => panic!("{other:?}"),
            }
        };
        let run = parsed(&["run"]);
        assert_eq!(run, parsed(&["object", "file.o"]));
        assert_eq!((run.client_rate, run.total_rate), (Some(0), Some(7)));
        for verb in [&["run"][..], &["object", "file.o"]] {
            let line = [&["ntpguard"], verb, &["--client-rate", "0"]].concat();
            assert!(Cli::try_parse_from(line).is_err(), "{verb:?}");
        }
    }
}
