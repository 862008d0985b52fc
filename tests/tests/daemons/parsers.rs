//! What the daemons make of a file is what the guard's parsers make of it.

use std::{collections::BTreeSet, fs, net::IpAddr, path::Path};

use anyhow::{Result, ensure};
use ntpguard::sources::{Host, Kind, Severity, Want};
use ntpguard_tests::{
    config::ConfigFile,
    daemons::{chrony::Chronyd, ntpsec::Ntpd, openntpd::OpenNtpd},
    namespace::Namespace,
    wait::eventually,
};

use super::HEARD;

/// Every line of one word from each column: what the guard's grammar and the daemon's may differ in.
fn product(columns: &[&[&str]]) -> Vec<String> {
    columns.iter().fold(vec![String::new()], |lines, column| {
        let with = |line: &String| -> Vec<String> {
            column.iter().map(|word| format!("{line}{word}")).collect()
        };
        lines.iter().flat_map(with).collect()
    })
}

/// The addresses that the guard finds in a file.
fn addresses(kind: Kind, path: &Path) -> BTreeSet<IpAddr> {
    let reading = kind.dialect(false).read(path);
    let wants = reading.wants.into_iter();
    wants
        .filter_map(|want| match want {
            Want::Source {
                host: Host::Address(host),
                ..
            } => Some(host.address),
            _ => None,
        })
        .collect()
}

/// But for `trusted`, which Debian's OpenNTPD 6.2 does not have yet.
#[test]
fn openntpd_refuses_what_the_guard_finds_faulty_and_nothing_else() -> Result<()> {
    let lines = product(&[
        &[
            "server",
            "servers",
            "Server",
            "listen on",
            "listen",
            "query from",
            "pool",
        ],
        &[" 192.0.2.1", " \"192.0.2.1\"", " \\\n192.0.2.1", " 5", ""],
        &["", " weight 5", " weight", " # weight", "=", " rtable 0"],
    ]);
    ensure!(lines.len() > 200, "{} lines", lines.len());
    let mut accepted = 0;
    for line in lines {
        let text = format!("{line}\n");
        let file = ConfigFile::named("ntpd.conf", &text)?;
        let reading = Kind::OpenNtpd.dialect(false).read(file.path());
        let faulty = reading
            .problems
            .iter()
            .any(|problem| problem.severity == Severity::Unreadable);
        let (accepts, said) = OpenNtpd::accepts(&text)?;
        ensure!(
            accepts != faulty,
            "{text:?}: {said:?}, {:?}",
            reading.problems
        );
        accepted += usize::from(accepts);
    }
    ensure!(accepted > 20, "only {accepted} were accepted");
    Ok(())
}

#[test]
fn chronyd_takes_the_files_that_the_guard_takes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    let write = |name: &str, host: u8| fs::write(at(name), format!("server 192.0.2.{host}\n"));
    for name in ["first", "second", "more"] {
        fs::create_dir(at(name))?;
    }
    write("first/20.conf", 1)?;
    write("second/20.conf", 2)?;
    write("second/10.conf", 3)?;
    write("second/30.config", 4)?;
    write("more/a.inc", 5)?;
    write("more/b.inc", 6)?;
    write("more/.c.inc", 7)?;
    write("alone.conf", 8)?;
    let root = directory.path().display();
    let main = format!(
        "  ! a comment\n; another\n% and another\nSERVER 192.0.2.100 iburst\n\
         confdir {root}/first {root}/second\ninclude {root}/more/*.inc\n\
         include {root}/alone.conf\npool 192.0.2.101 maxsources 3\npeer 192.0.2.102 xleave\n\
         #server 192.0.2.103\nserver 192.0.2.104 key 5 offset 0.1\n"
    );
    fs::write(at("chrony.conf"), main)?;
    let printed = ConfigFile::chrony(&Chronyd::printed(&at("chrony.conf"))?)?;
    let theirs = addresses(Kind::Chrony, printed.path());
    let ours = addresses(Kind::Chrony, &at("chrony.conf"));
    ensure!(
        ours == theirs && ours.len() == 9,
        "{ours:?}, but chronyd {theirs:?}"
    );
    Ok(())
}

/// Lines with addresses that are told apart by their last number.
fn numbered(lines: &[String]) -> String {
    let number = |(index, line): (usize, &String)| {
        let address = format!("10.55.{}.{}", index / 200, index % 200 + 1);
        line.replace('@', &address) + "\n"
    };
    lines.iter().enumerate().map(number).collect()
}

#[test]
fn chronyd_has_the_sources_that_the_guard_reads() -> Result<()> {
    let namespace = Namespace::new("parsers")?;
    let lines = product(&[
        &["server", "\tPool", "peer", "#server", "!server"],
        &[" @", "\t@ "],
        &[
            "",
            " iburst",
            " minpoll 4 maxpoll 6",
            " port 123",
            " offline",
        ],
    ]);
    let text = numbered(&lines);
    let chronyd = Chronyd::start(&namespace, &text, None)?;
    let ours = addresses(Kind::Chrony, &chronyd.config());
    eventually(HEARD, "chronyd's sources", || {
        let sources = chronyd.sources()?;
        let theirs: BTreeSet<IpAddr> = sources
            .iter()
            .filter_map(|source| source.address.parse().ok())
            .collect();
        ensure!(
            ours == theirs && ours.len() == 30,
            "{ours:?}, but chronyd {theirs:?}: {sources:?}"
        );
        Ok(())
    })
}

#[test]
fn ntpsec_has_the_sources_that_the_guard_reads() -> Result<()> {
    let namespace = Namespace::new("parsers")?;
    let lines = product(&[
        &[
            "server",
            "peer",
            "Server",
            "#server",
            "server -4",
            "\"server\"",
        ],
        &[" @", "\t@ ", " \"@\""],
        &["", " iburst", " minpoll 4 maxpoll 6", "#x", " # x", " odd"],
    ]);
    let text = numbered(&lines) + "server 10.55.9.9\nunpeer 10.55.9.9\n";
    let ntpd = Ntpd::start(&namespace, &text, None)?;
    let ours = addresses(Kind::NtpConf, &ntpd.config());
    eventually(HEARD, "ntpd's sources", || {
        let peers = ntpd.peers()?;
        let theirs: BTreeSet<IpAddr> = peers
            .iter()
            .filter_map(|peer| peer.address.parse().ok())
            .collect();
        let only: Vec<_> = ours.symmetric_difference(&theirs).collect();
        ensure!(
            only.is_empty() && ours.len() > 50,
            "{only:?} of {}",
            ours.len()
        );
        Ok(())
    })
}
