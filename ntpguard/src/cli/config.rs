//! `/etc/ntpguard/ntpguard.toml`, and how it and the flags come together.

use std::{
    collections::BTreeSet,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use ntpguard::{
    daemon::Options,
    datapath::{AttachMode, LONGEST_WINDOW, Mode, Tracking},
    flags::{self, LearnFrom, Track, ZeroTransmit, parse_rate},
    processes::Accounts,
    reconciler::Origins,
    sources::Source,
    trust::{Senders, Trust},
};
use ntpguard_common::{
    maps::{rates::Rates, requests::REPLY_WINDOW, tables::DEFAULT_TABLE_SIZE},
    rule::policy::Learn,
};
use serde::Deserialize;

use super::args::{GuardArgs, RunArgs, parse_resolver};

/// Where the configuration is looked for. Its absence is no error.
const DEFAULT_PATH: &str = "/etc/ntpguard/ntpguard.toml";

/// The configuration file: each key says what the flag of its name says, which wins over it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    interfaces: Vec<String>,
    sources: Vec<String>,
    mode: Option<Mode>,
    attach: Option<AttachMode>,
    track: Option<Track>,
    reply_window: Option<u32>,
    learn: Option<LearnFrom>,
    trust: Vec<String>,
    trust_uids: Vec<u32>,
    accounts: Accounts,
    zero_transmit: Option<ZeroTransmit>,
    client_rate: Option<RateInFile>,
    total_rate: Option<RateInFile>,
    resolvers: Vec<String>,
    serve: bool,
    table_size: Option<u32>,
    persist: bool,
}

/// A rate as TOML has it.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected requests per second, or \"off\"")]
enum RateInFile {
    Number(i64),
    Word(String),
}

impl RateInFile {
    fn per_second(&self) -> Result<u32, String> {
        match self {
            Self::Number(number) => parse_rate(&number.to_string()),
            Self::Word(word) => parse_rate(word),
        }
    }
}

/// Works out what to guard and how, from the flags and the configuration file.
pub(crate) fn options(guard: GuardArgs, args: &RunArgs) -> Result<Options> {
    let file = match &args.config {
        Some(path) => read(path)?,
        None => read_default()?,
    };
    let table_size = args
        .table_size
        .or(file.table_size)
        .unwrap_or(DEFAULT_TABLE_SIZE);
    if table_size == 0 {
        bail!("table-size: expected a number from 1 up, not 0");
    }
    let sources = sources(&args.sources, &file.sources)?;
    let tracking = tracking(args, &file)?;
    let senders = Senders {
        is_moot: !tracking.track || tracking.learn != Learn::Trusted,
        ..senders(args, &file)?
    };
    Ok(Options {
        pin_dir: guard.pin_dir,
        state_dir: guard.state_dir,
        interfaces: either(&args.interfaces, &file.interfaces),
        origins: Origins {
            discover: sources.is_empty(),
            sources,
            trust: senders.named.clone(),
            resolvers: resolvers(&args.resolvers, &file.resolvers)?,
            serve: args.serve || file.serve,
        },
        mode: args.policy.mode.or(file.mode).unwrap_or_default(),
        attach: args.attach.or(file.attach).unwrap_or_default(),
        tracking,
        client_rate: rate(
            "client-rate",
            args.policy.client_rate,
            file.client_rate.as_ref(),
            Rates::CLIENT,
        )?,
        total_rate: rate(
            "total-rate",
            args.policy.total_rate,
            file.total_rate.as_ref(),
            Rates::TOTAL,
        )?,
        senders,
        accounts: file.accounts,
        table_size,
        persist: args.persist || file.persist,
        replace: args.replace,
    })
}

/// The accounts of time daemons that the file adds, for commands that take no other file.
pub(crate) fn accounts() -> Result<Accounts> {
    Ok(read_default()?.accounts)
}

fn either<T: Clone>(flags: &[T], file: &[T]) -> Vec<T> {
    if flags.is_empty() { file } else { flags }.to_vec()
}

fn tracking(args: &RunArgs, file: &File) -> Result<Tracking> {
    let policy = &args.policy;
    let window = policy.reply_window.or(file.reply_window);
    if window.is_some_and(|window| !(1..=LONGEST_WINDOW).contains(&window)) {
        bail!("reply-window: expected seconds from 1 to {LONGEST_WINDOW}");
    }
    Ok(Tracking {
        window: window.unwrap_or(REPLY_WINDOW),
        trust_uids: !either(&args.trust_uid, &file.trust_uids).is_empty(),
        ..flags::tracking(
            policy.track.or(file.track),
            policy.learn.or(file.learn),
            policy.zero_transmit.or(file.zero_transmit),
        )
    })
}

fn rate(key: &str, flag: Option<u32>, file: Option<&RateInFile>, usual: u32) -> Result<u32> {
    match (flag, file) {
        (Some(flag), _) => Ok(flag),
        (None, Some(file)) => file
            .per_second()
            .map_err(|why| anyhow::anyhow!("{key}: {why}")),
        (None, None) => Ok(usual),
    }
}

fn senders(args: &RunArgs, file: &File) -> Result<Senders> {
    let in_file: Vec<Trust> = file
        .trust
        .iter()
        .map(|spelt| spelt.parse().with_context(|| format!("trust: {spelt:?}")))
        .collect::<Result<_>>()?;
    let uids: BTreeSet<u32> = either(&args.trust_uid, &file.trust_uids)
        .into_iter()
        .collect();
    if uids.contains(&0) {
        bail!("trust-uids: 0 is not allowed, as it would trust all of root's processes");
    }
    Ok(Senders {
        named: either(&args.trust, &in_file),
        uids,
        is_moot: false,
    })
}

/// The sources named, if any are.
fn sources(flags: &[Source], file: &[String]) -> Result<Vec<Source>> {
    if !flags.is_empty() {
        return Ok(flags.to_vec());
    }
    file.iter()
        .map(|spelt| spelt.parse().with_context(|| format!("sources: {spelt:?}")))
        .collect()
}

fn resolvers(flags: &[SocketAddr], file: &[String]) -> Result<Vec<SocketAddr>> {
    if !flags.is_empty() {
        return Ok(flags.to_vec());
    }
    file.iter()
        .map(|spelt| parse_resolver(spelt).map_err(|why| anyhow::anyhow!("resolvers: {why}")))
        .collect()
}

fn read_default() -> Result<File> {
    match fs::read_to_string(DEFAULT_PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(File::default()),
        text => parse(&PathBuf::from(DEFAULT_PATH), text),
    }
}

fn read(path: &Path) -> Result<File> {
    parse(path, fs::read_to_string(path))
}

fn parse(path: &Path, text: io::Result<String>) -> Result<File> {
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    // The error shows line, column, and the keys that there are.
    toml::from_str(&text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::{super::args::PolicyArgs, *};

    fn guard() -> GuardArgs {
        GuardArgs {
            pin_dir: "/pins".into(),
            state_dir: "/state".into(),
        }
    }

    fn with_file(text: &str, mut args: RunArgs) -> Result<Options> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ntpguard.toml");
        fs::write(&path, text).unwrap();
        args.config = Some(path);
        options(guard(), &args)
    }

    #[test]
    fn the_file_says_what_the_flags_do_and_flags_win() {
        let text = "interfaces = [\"eth0\"]\nmode = \"monitor\"\nresolvers = [\"192.0.2.53\"]\n\
                    sources = [\"ntp.conf:/etc/ntp.conf\"]\ntable-size = 100\npersist = true\n";
        let options = with_file(text, RunArgs::default()).unwrap();
        assert_eq!(options.interfaces, ["eth0"]);
        assert_eq!(options.mode, Mode::Monitor);
        assert_eq!(
            options.origins.resolvers,
            ["192.0.2.53:53".parse().unwrap()]
        );
        assert_eq!((options.table_size, options.persist), (100, true));
        let args = RunArgs {
            policy: PolicyArgs {
                mode: Some(Mode::Enforce),
                ..PolicyArgs::default()
            },
            table_size: Some(7),
            ..RunArgs::default()
        };
        let options = with_file(text, args).unwrap();
        assert_eq!((options.mode, options.table_size), (Mode::Enforce, 7));
    }

    #[test]
    fn rates_are_numbers_or_off_and_flags_win() {
        let rates = |text, args| {
            with_file(text, args).map(|options| (options.client_rate, options.total_rate))
        };
        let usual = (Rates::CLIENT, Rates::TOTAL);
        assert_eq!(rates("", RunArgs::default()).unwrap(), usual);
        let text = "client-rate = 5\ntotal-rate = \"off\"\n";
        assert_eq!(rates(text, RunArgs::default()).unwrap(), (5, 0));
        let args = RunArgs {
            policy: PolicyArgs {
                client_rate: Some(0),
                ..PolicyArgs::default()
            },
            ..RunArgs::default()
        };
        assert_eq!(rates(text, args).unwrap(), (0, 0));
        for wrong in [
            "client-rate = 0",
            "total-rate = \"fast\"",
            "client-rate = 1.5",
        ] {
            let error = rates(wrong, RunArgs::default()).unwrap_err();
            assert!(format!("{error:#}").contains("off"), "{error:#}");
        }
    }

    #[test]
    fn the_reply_window_is_a_number_of_seconds_and_the_flag_wins() {
        let window = |text, flag| {
            let args = RunArgs {
                policy: PolicyArgs {
                    reply_window: flag,
                    ..PolicyArgs::default()
                },
                ..RunArgs::default()
            };
            with_file(text, args).map(|options| options.tracking.window)
        };
        assert_eq!(window("", None).unwrap(), REPLY_WINDOW);
        assert_eq!(window("reply-window = 30\n", None).unwrap(), 30);
        assert_eq!(window("reply-window = 30\n", Some(7)).unwrap(), 7);
        for wrong in ["reply-window = 0\n", "reply-window = 301\n"] {
            let error = window(wrong, None).unwrap_err();
            assert!(error.to_string().contains("from 1 to 300"), "{error:#}");
        }
    }

    #[test]
    fn accounts_are_added_to_known_daemons_alone() {
        let text = "accounts = { chronyd = [\"time\"], ntpd-rs = [\"a\", \"b\"] }\n";
        let options = with_file(text, RunArgs::default()).unwrap();
        assert_eq!(options.accounts.chronyd, ["time"]);
        assert_eq!(options.accounts.ntpd_rs, ["a", "b"]);
        let error = with_file("accounts = { cronyd = [] }\n", RunArgs::default()).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("cronyd") && text.contains("chronyd"),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line() {
        let error = with_file("\nmodes = \"monitor\"\n", RunArgs::default()).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("line 2") && text.contains("modes"), "{text}");
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let args = RunArgs {
            config: Some("/nowhere.toml".into()),
            ..RunArgs::default()
        };
        assert!(format!("{:#}", options(guard(), &args).unwrap_err()).contains("/nowhere.toml"));
    }
}
