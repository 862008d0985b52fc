//! Time sources that no file names but a command line: that of a running daemon, or the one that
//! an init script's settings have for it.

use std::{path::Path, sync::Arc};

use ntpguard_common::maps::tables::Role;

use super::{
    Dialect, Family, Library, Reading,
    arguments::{Said, said},
    chrony::Chrony,
    files::FileError,
    host::Spelling,
    reading_builder::{Line, ReadingBuilder, lines},
};
use crate::processes::{Program, TimeDaemon};

/// The reader of a running daemon's command line, a file `cmdline` of /proc.
///
/// The arguments are counted as if they were lines, which is how `tr '\0' '\n'` shows them.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommandLine;

impl Dialect for CommandLine {
    fn name(&self) -> &'static str {
        "command-line"
    }

    fn read_from(&self, files: &dyn Library, path: &Path) -> Reading {
        let Some(daemon) = path.parent().and_then(TimeDaemon::read) else {
            let mut builder = ReadingBuilder::new(files, path, Spelling::NTPD);
            builder.unreadable(path, &FileError::Missing, None);
            return builder.finish();
        };
        let sees_same_files = files.are_ours() && daemon.own_root().is_none();
        let TimeDaemon {
            program, arguments, ..
        } = &daemon;
        read_arguments(files, path, *program, arguments, sees_same_files)
    }
}

/// Reads what a command line names; `path` is where it stands.
pub(super) fn read_arguments(
    files: &dyn Library,
    path: &Path,
    program: Program,
    arguments: &[String],
    sees_same_files: bool,
) -> Reading {
    let said = said(program, arguments);
    if program == Program::Chronyd {
        return Chrony::read_arguments(files, path, &said.sources, sees_same_files);
    }
    let mut builder = ReadingBuilder::new(files, path, Spelling::NTPD);
    let file: Arc<Path> = path.into();
    for (name, number) in said.sources {
        let line = Line {
            file: Arc::clone(&file),
            number,
        };
        builder.source(&name, Family::Any, &[Role::Server], line.at(1));
    }
    builder.finish()
}

/// The reader of shell assignments, of which `NTPD_OPTS` has the options of busybox's ntpd.
#[derive(Clone, Copy, Debug, Default)]
pub struct NtpdOpts;

impl Dialect for NtpdOpts {
    fn name(&self) -> &'static str {
        "ntpd-opts"
    }

    fn read_from(&self, files: &dyn Library, path: &Path) -> Reading {
        let mut builder = ReadingBuilder::new(files, path, Spelling::NTPD);
        if let Some(text) = builder.open(path, None) {
            // As in a shell, the last assignment counts.
            let last = lines(&path.into(), &text)
                .filter_map(|(line, text, _)| Some((line, options(text)?)))
                .last();
            if let Some((line, said)) = last {
                for (name, _) in said.sources {
                    builder.source(&name, Family::Any, &[Role::Server], line.at(1));
                }
            }
            builder.close();
        }
        builder.finish()
    }
}

/// What `NTPD_OPTS="…"` says.
fn options(line: &str) -> Option<Said> {
    let line = line.trim().trim_start_matches("export ");
    let value = line.strip_prefix("NTPD_OPTS=")?;
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].split(quote).next().unwrap_or_default(),
        _ => value.split_ascii_whitespace().next().unwrap_or_default(),
    };
    let words = value.split_ascii_whitespace().map(str::to_owned);
    let arguments: Vec<String> = std::iter::once("ntpd".to_owned()).chain(words).collect();
    Some(said(Program::BusyboxNtpd, &arguments))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::{
        super::{
            Want,
            testing::{Tree, host_text},
        },
        *,
    };

    fn running(program: &str, arguments: &[&str]) -> Tree {
        let tree = Tree::new(&[]);
        tree.process(7, program, arguments);
        tree
    }

    #[test]
    fn a_running_daemons_arguments_are_sources() {
        let tree = running(
            "/usr/sbin/ntpd",
            &["/usr/sbin/ntpd", "-g", "a.example", "192.0.2.1"],
        );
        let reading = tree.read(&CommandLine, "proc/7/cmdline");
        assert_eq!(
            tree.wants(&reading),
            [
                "proc/7/cmdline:3:1 a.example server",
                "proc/7/cmdline:4:1 192.0.2.1 server"
            ]
        );
        let tree = running(
            "/bin/busybox",
            &["busybox", "ntpd", "-p", "b.example", "-n"],
        );
        let reading = tree.read(&CommandLine, "proc/7/cmdline");
        assert_eq!(
            tree.wants(&reading),
            ["proc/7/cmdline:3:1 b.example server"]
        );
    }

    /// As chronyd leaves `'pool a.example iburst' 'peer b.example port 1123 key 1' 'allow 10'`.
    #[test]
    fn chronyds_arguments_are_servers_and_files_and_grant_nothing_else() {
        let tree = running(
            "/usr/sbin/chronyd (deleted)",
            &[
                "chronyd",
                "-q",
                "pool",
                "a.example",
                "iburst",
                "peer",
                "b.example",
                "port",
                "1123key",
                " 1",
                "allow",
                "10",
                "include",
                "{}/more.conf",
                "include",
                "more.conf",
            ],
        );
        fs::write(
            tree.path("more.conf"),
            "server c.example\nallow 192.0.2.0/24\n",
        )
        .expect("written");
        let reading = tree.read(&CommandLine, "proc/7/cmdline");
        assert_eq!(
            tree.wants(&reading),
            [
                "proc/7/cmdline:3:1 a.example server",
                "proc/7/cmdline:6:1 b.example port 1123 server",
                "more.conf:1:8 c.example server",
                "more.conf:2:7 192.0.2.0/24 client",
            ]
        );
        assert_eq!(
            tree.problems(&reading),
            ["note proc/7/cmdline:16:1", "note proc/7/cmdline:11:1"]
        );
    }

    #[test]
    fn a_process_that_is_gone_or_another_is_unreadable() {
        let tree = running("/bin/sh", &["sh", "-c", "ntpd"]);
        for name in ["proc/7/cmdline", "proc/8/cmdline"] {
            let reading = tree.read(&CommandLine, name);
            assert!(reading.wants.is_empty());
            assert_eq!(tree.problems(&reading), [format!("unreadable {name}:0:0")]);
        }
    }

    #[test]
    fn alpines_settings_name_the_servers_of_busybox() {
        for (text, expected) in [
            (
                "NTPD_OPTS=\"-N -p pool.ntp.org\"\n",
                vec!["1:1 pool.ntp.org server"],
            ),
            (
                "# options\nNTPD_OPTS='-N -p a.example'\nexport NTPD_OPTS=\"-p b.example -p 192.0.2.1\" # ours\n",
                vec!["3:1 b.example server", "3:1 192.0.2.1 server"],
            ),
            ("NTPD_OPTS=-N\n", vec![]),
            (
                "#NTPD_OPTS=\"-p a.example\"\nOTHER=\"-p b.example\"\n",
                vec![],
            ),
        ] {
            let read = Tree::lines_of(&NtpdOpts, "ntpd", text);
            let expected = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(read, (expected, vec![]), "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_are_read(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            program in prop::sample::select(vec!["ntpd", "chronyd", "busybox", "ntp-daemon"]),
        ) {
            let tree = running(program, &[]);
            fs::write(tree.path("proc/7/cmdline"), &bytes).expect("written");
            let reading = tree.read(&CommandLine, "proc/7/cmdline");
            for want in &reading.wants {
                let Want::Source { roles, .. } = want else {
                    panic!("{want:?}");
                };
                prop_assert_eq!(roles, &[Role::Server]);
            }
            let _reading = tree.read(&NtpdOpts, "proc/7/cmdline");
        }

        #[test]
        fn every_host_that_is_wanted_stands_in_the_text(
            words in prop::collection::vec("[ -~]{0,9}|-p|-[a-zA-Z]{1,3}|a.example|192.0.2.1", 0..20),
        ) {
            let text = format!("NTPD_OPTS=\"{}\"\n", words.join(" "));
            let tree = Tree::new(&[("ntpd", &text)]);
            for want in tree.read(&NtpdOpts, "ntpd").wants {
                if let Want::Source { host, .. } = want {
                    prop_assert!(text.contains(&host_text(&host)), "{}", host_text(&host));
                }
            }
        }
    }
}
