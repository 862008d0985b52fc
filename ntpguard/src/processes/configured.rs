//! The accounts that root's configuration files have a daemon run as.

use std::{
    fs::{self, OpenOptions},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

use super::evidence::OTHERS_WRITE;

/// A file that may name an account, by the file name of a daemon's program.
const FILES: &[(&str, How, &str)] = &[
    ("chronyd", How::Directive, "etc/chrony.conf"),
    ("chronyd", How::Directive, "etc/chrony/chrony.conf"),
    ("chronyd", How::Option, "etc/default/chrony"),
    ("chronyd", How::Option, "etc/sysconfig/chronyd"),
    ("ntpd", How::Option, "etc/default/ntp"),
    ("ntpd", How::Option, "etc/default/ntpsec"),
    ("ntpd", How::Option, "etc/sysconfig/ntpd"),
];

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// How a file names an account.
#[derive(Clone, Copy)]
enum How {
    /// A line `user NAME`.
    Directive,
    /// `-u NAME` or `-u NAME:GROUP` in shell assignments.
    Option,
}

/// The accounts of the daemon whose program's file name is `file`, from the files below `root`.
pub(super) fn accounts(root: &Path, file: &str) -> Vec<String> {
    FILES
        .iter()
        .filter(|(of, _, _)| *of == file)
        .flat_map(|(_, how, path)| how.accounts(&roots_text(&root.join(path)).unwrap_or_default()))
        .collect()
}

impl How {
    fn accounts(self, text: &str) -> Vec<String> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.starts_with(['#', '!', ';', '%']));
        let found = lines.filter_map(|line| match self {
            Self::Directive => directive(line),
            Self::Option => option(line),
        });
        found.map(str::to_owned).collect()
    }
}

fn directive(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    let keyword = words.next()?;
    keyword.eq_ignore_ascii_case("user").then(|| words.next())?
}

fn option(line: &str) -> Option<&str> {
    let (_, value) = line.split_once('=')?;
    let mut words = value.split(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\''));
    words.find(|word| *word == "-u")?;
    let account = words.find(|word| !word.is_empty())?;
    account.split(':').next()
}

/// The text of a file that root alone can write; nothing of any other.
fn roots_text(path: &Path) -> Option<String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .ok()?;
    let found = file.metadata().ok()?;
    let above = fs::metadata(path.parent()?).ok()?;
    let is_roots = |found: &fs::Metadata| found.uid() == 0 && found.mode() & OTHERS_WRITE == 0;
    if !found.is_file() || !is_roots(&found) || !is_roots(&above) {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn root_says_in_files_whom_a_daemon_runs_as() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(&path, text).expect("written");
            path
        };
        let conf = write(
            "etc/chrony.conf",
            "server user\n# user no\n\tUser time\nuser\n",
        );
        write(
            "etc/default/chrony",
            "#OPTIONS=\"-u no\"\nDAEMON_OPTS=\"-F 1 -u clock\"\n",
        );
        write("etc/sysconfig/ntpd", "OPTIONS='-g -u ntp2:ntp'\n");
        assert_eq!(accounts(root.path(), "chronyd"), ["time", "clock"]);
        assert_eq!(accounts(root.path(), "ntpd"), ["ntp2"]);
        assert!(accounts(root.path(), "openntpd").is_empty());
        // Who can write the file would choose.
        chown(&conf, Some(33), None).expect("another's");
        assert_eq!(accounts(root.path(), "chronyd"), ["clock"]);
        let defaults = root.path().join("etc/default/chrony");
        let anybody = fs::Permissions::from_mode(0o666);
        fs::set_permissions(defaults, anybody).expect("everybody's");
        assert!(accounts(root.path(), "chronyd").is_empty());
    }
}
