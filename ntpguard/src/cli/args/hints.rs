//! Hints for commands and options of other tools: an edit distance alone proposes `unload` for
//! `reload` and `top` for `stop`.

use clap::{
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Words that are no commands here, and what to use instead.
const COMMANDS: &[(&[&str], &str)] = &[
    (
        &[
            "reload",
            "refresh",
            "reread",
            "rehash",
            "resolve",
            "sync",
            "update",
            "load-config",
        ],
        "`ntpguard allowlist update` rereads the sources and resolves all names; changed options need \
         `ntpguard run --replace`, or a restart of the service",
    ),
    (
        &["restart", "replace", "try-restart", "reexec", "upgrade"],
        "`ntpguard run --replace` takes over without a gap; a service is restarted with `systemctl restart`",
    ),
    (
        &["stop", "quit", "kill", "shutdown", "terminate", "end"],
        "stop the service with `systemctl stop`, or end the daemon with `kill PID`; `ntpguard status` \
         shows its pid",
    ),
    (
        &[
            "start", "up", "enable", "attach", "load", "guard", "daemon", "serve", "on",
        ],
        "`ntpguard run` starts the guard",
    ),
    (
        &[
            "down",
            "disable",
            "detach",
            "uninstall",
            "clear",
            "flush",
            "off",
            "delete-all",
        ],
        "ending `ntpguard run` detaches the guard; `ntpguard unload` removes one without a daemon",
    ),
    (
        &[
            "show", "ls", "list", "rules", "ruleset", "dump", "save", "print", "get", "table",
            "tables",
        ],
        "`ntpguard allowlist list` lists the grants, `ntpguard status` shows the guard",
    ),
    (
        &[
            "add", "insert", "append", "allow", "accept", "permit", "grant", "set", "server",
            "pool",
        ],
        "`ntpguard allowlist add ADDR` grants the role `server`; --role gives others",
    ),
    (
        &["remove", "delete", "del", "rm", "revoke"],
        "`ntpguard allowlist remove ADDR` removes a manual grant",
    ),
    (
        &[
            "deny",
            "drop",
            "block",
            "ban",
            "reject",
            "blacklist",
            "blocklist",
            "denylist",
        ],
        "`ntpguard allowlist add ADDR --role none` denies an address or prefix",
    ),
    (
        &[
            "stat",
            "stats",
            "statistics",
            "info",
            "state",
            "counters",
            "tracking",
            "serverstats",
            "is-active",
        ],
        "`ntpguard status` shows the guard's status and counters",
    ),
    (
        &[
            "source",
            "sourcestats",
            "peers",
            "ntpdata",
            "servers",
            "activity",
            "config",
            "names",
        ],
        "`ntpguard sources` shows the configured sources and those in use",
    ),
    (
        &[
            "log", "logs", "tail", "follow", "trace", "watch", "monitor", "journal",
        ],
        "`ntpguard events` follows a sample of verdicts; `ntpguard run --mode monitor` guards without dropping",
    ),
    (
        &[
            "check",
            "test",
            "validate",
            "configtest",
            "dry-run",
            "verify",
        ],
        "`ntpguard run --check` validates the configuration and shows the resulting grants",
    ),
    (
        &["clients", "senders", "talkers"],
        "`ntpguard top` shows the senders of rejected packets",
    ),
    (&["version"], "use `ntpguard --version`"),
];

/// Options that do not exist, and what to use instead.
const OPTIONS: &[(&[&str], &str)] = &[
    (
        &[
            "--dry-run",
            "--test",
            "--validate",
            "--configtest",
            "-n",
            "-t",
        ],
        "`ntpguard run --check` validates the configuration and shows the resulting grants",
    ),
    (
        &["--monitor", "--log-only", "--permissive"],
        "use `ntpguard run --mode monitor`",
    ),
    (
        &["--enforce", "--drop"],
        "use `ntpguard run --mode enforce`",
    ),
    (
        &["--native", "--generic", "--skb", "--tc", "--external"],
        "use `ntpguard run --attach`",
    ),
    (
        &["--dev", "--device", "--iface", "--ifname"],
        "use `ntpguard run --interface`",
    ),
    (
        &[
            "--daemon",
            "--daemonize",
            "--background",
            "--foreground",
            "--fork",
            "-d",
        ],
        "`ntpguard run` stays in the foreground; run it as a service",
    ),
    (&["--follow", "-f"], "`ntpguard events` always follows"),
    (
        &["--deny", "--block", "--ban"],
        "use `ntpguard allowlist add ADDR --role none`",
    ),
    (
        &["--timeout", "--expire", "--expires", "--lifetime"],
        "use `ntpguard allowlist add --ttl`",
    ),
    (&["--uid", "--user"], "use `ntpguard run --trust-uid`"),
    (
        &["--config-file", "--conf", "-c"],
        "use `ntpguard run --config`",
    ),
    (&["--format", "--output", "-j", "-o"], "use --json"),
    (
        &["--force"],
        "use `ntpguard run --replace` to take over from a running daemon",
    ),
];

/// Typing errors that may be in a word which is taken for another.
const TYPOS: usize = 1;

/// Adds a hint where a word of other tools was typed, in place of what only looks like it.
pub(super) fn with_hint(mut error: clap::Error) -> clap::Error {
    let (typed, suggestion) = match error.kind() {
        ErrorKind::InvalidSubcommand => (
            ContextKind::InvalidSubcommand,
            ContextKind::SuggestedSubcommand,
        ),
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, ContextKind::SuggestedArg),
        _ => return error,
    };
    let Some(ContextValue::String(typed)) = error.get(typed) else {
        return error;
    };
    let hint = if error.kind() == ErrorKind::InvalidSubcommand {
        command_hint(typed, &words(error.get(suggestion)))
    } else {
        option_hint(typed)
    };
    if hint != Hint::AsSuggested {
        error.remove(suggestion);
    }
    if let Hint::Other(hint) = hint {
        let hint = ContextValue::StyledStrs(vec![StyledStr::from(hint)]);
        error.insert(ContextKind::Suggested, hint);
    }
    error
}

fn words(context: Option<&ContextValue>) -> Vec<String> {
    match context {
        Some(ContextValue::String(one)) => vec![one.clone()],
        Some(ContextValue::Strings(several)) => several.clone(),
        _ => Vec::new(),
    }
}

/// What to propose.
#[derive(Debug, PartialEq, Eq)]
enum Hint {
    /// What clap does.
    AsSuggested,
    /// This.
    Other(&'static str),
    /// Nothing: what is alike is not meant.
    None,
}

fn command_hint(typed: &str, suggested: &[String]) -> Hint {
    let distance = |word: &str| strsim::osa_distance(&typed.to_lowercase(), word);
    let ours = suggested.iter().map(|word| distance(word)).min();
    let others = COMMANDS
        .iter()
        .flat_map(|(words, hint)| words.iter().map(move |word| (distance(word), *hint)))
        .filter(|(distance, _)| *distance == 0 || (*distance <= TYPOS && typed.len() > 3));
    let nearest = others.min_by_key(|(distance, _)| *distance);
    match (nearest, ours) {
        (Some((distance, hint)), ours)
            if distance == 0 || ours.is_none_or(|ours| distance < ours) =>
        {
            Hint::Other(hint)
        }
        // Words that share only their end are different commands.
        (_, Some(ours))
            if ours > TYPOS && !suggested.iter().any(|word| begins_alike(typed, word)) =>
        {
            Hint::None
        }
        _ => Hint::AsSuggested,
    }
}

fn option_hint(typed: &str) -> Hint {
    let typed = typed.split('=').next().unwrap_or(typed);
    let known = OPTIONS.iter().find(|(words, _)| words.contains(&typed));
    known.map_or(Hint::AsSuggested, |(_, hint)| Hint::Other(hint))
}

fn begins_alike(one: &str, other: &str) -> bool {
    one.chars().next() == other.chars().next()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{super::Cli, *};

    fn message(line: &str) -> String {
        let words = std::iter::once("ntpguard").chain(line.split_whitespace());
        let error = Cli::try_parse_from(words).expect_err(line);
        with_hint(error).to_string()
    }

    #[test]
    fn words_of_other_tools_lead_to_the_command_that_does_it() {
        for (line, hint) in [
            ("reload", "allowlist update"),
            ("relaod", "allowlist update"),
            ("stop", "kill PID"),
            ("sotp", "kill PID"),
            ("restart", "run --replace"),
            ("start", "ntpguard run"),
            ("load", "ntpguard run"),
            ("show", "allowlist list"),
            ("list", "allowlist list"),
            ("add 192.0.2.1", "allowlist add"),
            ("delete 192.0.2.1", "allowlist remove"),
            ("allowlist del 192.0.2.1", "allowlist remove"),
            ("allowlist deny 192.0.2.1", "--role none"),
            ("allowlist reload", "allowlist update"),
            ("tracking", "ntpguard status"),
            ("sourcestats", "ntpguard sources"),
            ("run --dry-run", "run --check"),
            ("run --monitor", "--mode monitor"),
            ("events -f", "follows"),
        ] {
            let text = message(line);
            assert!(text.contains(hint), "{line}: {text}");
            assert!(!text.contains("similar"), "{line}: {text}");
        }
    }

    #[test]
    fn no_command_is_proposed_that_does_the_opposite() {
        for word in ["reload", "relod", "rload", "preload", "load"] {
            assert!(!message(word).contains("'unload'"), "{}", message(word));
        }
        for word in ["stop", "stpo", "stops", "halt"] {
            assert!(!message(word).contains("'top'"), "{}", message(word));
        }
    }

    #[test]
    fn typing_errors_in_our_commands_lead_to_them() {
        for (typed, meant) in [
            ("unlaod", "'unload'"),
            ("nload", "'unload'"),
            ("statsu", "'status'"),
            ("staus", "'status'"),
            ("souces", "'sources'"),
            ("evnts", "'events'"),
            ("allowlits", "'allowlist'"),
            ("allowlist lst", "'list'"),
        ] {
            assert!(message(typed).contains(meant), "{}", message(typed));
        }
    }

    #[test]
    fn no_word_is_a_command_and_no_word_is_listed_twice() {
        let ours = <Cli as clap::CommandFactory>::command();
        let mut seen = std::collections::BTreeSet::new();
        for word in COMMANDS.iter().chain(OPTIONS).flat_map(|(words, _)| *words) {
            assert!(ours.find_subcommand(word).is_none(), "{word}");
            assert!(seen.insert(word), "{word}");
        }
    }
}
