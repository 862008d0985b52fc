//! What the command lines of time daemons say.

use serde::{Deserialize, Serialize};

use crate::processes::Program;

/// An argument, and which one of all it is, counted from 1.
pub(super) type Argument = (String, u32);

/// What a command line says that matters here.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    /// The configuration file.
    pub(super) file: Option<String>,
    /// The arguments that name servers, or with chronyd are lines of a configuration.
    pub(super) sources: Vec<Argument>,
}

/// Reads a command line, the name of the program first.
pub(super) fn said(program: Program, arguments: &[String]) -> Said {
    let mut said = Said::default();
    let mut rest = arguments.iter().cloned().zip(1..).skip(1);
    let mut ended = false;
    while let Some((argument, number)) = rest.next() {
        if ended || !is_option(program, &argument) {
            said.sources.push((argument, number));
        } else if argument == "--" {
            ended = true;
        } else if let Some(long) = argument.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some((value.to_owned(), number))),
                None => (long, None),
            };
            let letter = match name {
                "config" | "configfile" => 'c',
                _ => continue,
            };
            if let Some(value) = value.or_else(|| rest.next()) {
                option(&mut said, program, letter, value);
            }
        } else {
            letters(&mut said, program, (&argument[1..], number), &mut rest);
        }
    }
    match program {
        Program::BusyboxNtpd | Program::Chronyd | Program::Ntpd => {}
        _ => said.sources.clear(),
    }
    said
}

/// Whether an argument is an option. chronyd splits its arguments in place, so that a negative number
/// of a directive stands alone.
fn is_option(program: Program, argument: &str) -> bool {
    let Some(letters) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
        return false;
    };
    let is_number = program == Program::Chronyd
        && letters.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    !is_number || matches!(letters, "4" | "6")
}

/// Reads `-xyzVALUE` or `-xyz VALUE`.
fn letters(
    said: &mut Said,
    program: Program,
    (letters, number): (&str, u32),
    rest: &mut impl Iterator<Item = Argument>,
) {
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        if !with_value(program).contains(letter) {
            continue;
        }
        let value = match letters.as_str() {
            "" => rest.next(),
            attached => Some((attached.to_owned(), number)),
        };
        if let Some(value) = value {
            option(said, program, letter, value);
        }
        return;
    }
}

/// The options of `program` that a value follows, by their letters.
const fn with_value(program: Program) -> &'static str {
    match program {
        // chrony 4, main.c
        Program::Chronyd => "fFlLPtu",
        // The classic ntpd's ntpd-opts.def and NTPsec's ntpd.c, both.
        Program::Ntpd => "cDfiIklpPrstuUvVw",
        Program::OpenNtpd => "fp",
        // busybox's networking/ntpd.c
        Program::BusyboxNtpd => "pSkI",
        Program::NtpdRs => "cl",
        Program::Timesyncd => "",
    }
}

fn option(said: &mut Said, program: Program, letter: char, value: Argument) {
    match (program, letter) {
        (Program::Chronyd | Program::OpenNtpd, 'f') | (Program::Ntpd | Program::NtpdRs, 'c') => {
            said.file = Some(value.0);
        }
        (Program::BusyboxNtpd, 'p') => {
            // keyno:NUMBER:PEER
            let (peer, number) = value;
            let peer = match peer.strip_prefix("keyno:") {
                Some(keyed) => keyed
                    .split_once(':')
                    .map_or("", |(_, peer)| peer)
                    .to_owned(),
                None => peer,
            };
            said.sources.push((peer, number));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(program: Program, line: &str) -> Said {
        let arguments: Vec<String> = line.split('|').map(str::to_owned).collect();
        said(program, &arguments)
    }

    #[test]
    fn command_lines_say_which_file_and_which_servers() {
        for (program, line, file, sources) in [
            (Program::Chronyd, "chronyd|-F|1", None, vec![]),
            (
                Program::Chronyd,
                "chronyd|-dx|-f|/etc/c.conf|-u|root",
                Some("/etc/c.conf"),
                vec![],
            ),
            (
                Program::Chronyd,
                "chronyd|-q|server a.example iburst|makestep 1 3",
                None,
                vec![("server a.example iburst", 3), ("makestep 1 3", 4)],
            ),
            (
                Program::Ntpd,
                "ntpd|-p|/run/ntpd.pid|-c|/run/ntp.conf.dhcp|-g|-N|-u|ntpsec:ntpsec",
                Some("/run/ntp.conf.dhcp"),
                vec![],
            ),
            (
                Program::Ntpd,
                "ntpd|-gc/x.conf|a.example|-f|/var/ntp.drift|b.example",
                Some("/x.conf"),
                vec![("a.example", 3), ("b.example", 6)],
            ),
            (
                Program::Ntpd,
                "ntpd|--configfile=/x|--|-odd",
                Some("/x"),
                vec![("-odd", 4)],
            ),
            (
                Program::OpenNtpd,
                "openntpd|-sf|ntpd.conf",
                Some("ntpd.conf"),
                vec![],
            ),
            (
                Program::BusyboxNtpd,
                "ntpd|-N|-p|a.example|-pb.example|-p|keyno:7:c.example|-l",
                None,
                vec![("a.example", 4), ("b.example", 5), ("c.example", 7)],
            ),
            (
                Program::NtpdRs,
                "ntp-daemon|--config|/x.toml",
                Some("/x.toml"),
                vec![],
            ),
            (
                Program::NtpdRs,
                "ntp-daemon|-c|/x.toml|junk",
                Some("/x.toml"),
                vec![],
            ),
            (Program::Timesyncd, "systemd-timesyncd", None, vec![]),
            (
                Program::Chronyd,
                "chronyd|-4|server|a.example|offset|-0.5burst|server|b.example|-x",
                None,
                vec![
                    ("server", 3),
                    ("a.example", 4),
                    ("offset", 5),
                    ("-0.5burst", 6),
                    ("server", 7),
                    ("b.example", 8),
                ],
            ),
        ] {
            let expected = Said {
                file: file.map(str::to_owned),
                sources: sources
                    .into_iter()
                    .map(|(text, number)| (text.to_owned(), number))
                    .collect(),
            };
            assert_eq!(read(program, line), expected, "{line}");
        }
    }

    #[test]
    fn a_command_line_that_ends_early_says_less() {
        assert_eq!(read(Program::Ntpd, "ntpd|-c"), Said::default());
        assert_eq!(read(Program::Ntpd, "ntpd|--configfile"), Said::default());
        assert_eq!(said(Program::Ntpd, &[]), Said::default());
    }
}
