//! Which configuration files there are, and in which dialect each is written.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

use super::{Kind, Reading, files};

/// A configuration to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The dialect it is written in.
    pub kind: Kind,
    /// Its main file.
    pub path: PathBuf,
    /// Why it is read: which daemon's it is, or that somebody named it.
    pub why: String,
}

impl Source {
    /// Reads it; see [`Kind::dialect`] for `serve`.
    pub fn read(&self, serve: bool) -> Reading {
        self.kind.dialect(serve).read(&self.path)
    }
}

/// `DIALECT:FILE`, which [`Source::from_str`] reads again.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.path.display())
    }
}

/// A word that names no configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceError {
    /// It names no file.
    #[error("expected FILE or DIALECT:FILE, where DIALECT is ntp.conf or chrony")]
    NoFile,
    /// There is no such dialect, and no such file.
    #[error("{0:?} is no dialect that ntpguard reads: it is ntp.conf or chrony")]
    UnknownDialect(String),
}

impl FromStr for Source {
    type Err = SourceError;

    /// Reads `FILE` or `DIALECT:FILE`. Without a dialect it is told from the file's name or, for
    /// which the file is read, from its contents.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (kind, path) = match text.split_once(':') {
            Some((before, path)) => {
                match Kind::ALL.into_iter().find(|kind| kind.name() == before) {
                    Some(kind) => (Some(kind), path),
                    // A file's name may have a colon, too.
                    None if before.contains('/') || Path::new(text).exists() => (None, text),
                    None => return Err(SourceError::UnknownDialect(before.to_owned())),
                }
            }
            None => (None, text),
        };
        if path.is_empty() {
            return Err(SourceError::NoFile);
        }
        let path = PathBuf::from(path);
        let kind = kind.unwrap_or_else(|| Kind::guess(&path));
        Ok(Self {
            kind,
            path,
            why: "named by hand".to_owned(),
        })
    }
}

/// Debian's NTPsec is started with this file instead of its own where DHCP named servers.
const NTPSEC_DHCP: &str = "run/ntpsec/ntp.conf.dhcp";
const NTPSEC: &str = "etc/ntpsec/ntp.conf";
/// Where Debian's NTPsec is told not to do so.
const NTPSEC_DEFAULTS: &str = "etc/default/ntpsec";

/// Where the distributions put the daemons' files.
const PLACES: &[(Kind, &str, &str)] = &[
    (Kind::NtpConf, "etc/ntp.conf", "ntpd's configuration"),
    (
        Kind::NtpConf,
        NTPSEC,
        "NTPsec's configuration on Debian and its descendants",
    ),
    (Kind::Chrony, "etc/chrony.conf", "chronyd's configuration"),
    (
        Kind::Chrony,
        "etc/chrony/chrony.conf",
        "chronyd's configuration on Debian, its descendants, and Alpine",
    ),
];

/// Finds the configurations under `root`, which is `/` but in tests.
pub fn discover(root: &Path) -> Vec<Source> {
    let by_dhcp = dhcp_replaces_ntpsec(root);
    PLACES
        .iter()
        .map(|&(kind, file, why)| {
            if file == NTPSEC && by_dhcp {
                let why = "NTPsec's configuration with the servers that DHCP named";
                (kind, root.join(NTPSEC_DHCP), why)
            } else {
                (kind, root.join(file), why)
            }
        })
        // A link that leads nowhere is there, and worth an error.
        .filter(|(_, path, _)| fs::symlink_metadata(path).is_ok())
        .map(|(kind, path, why)| Source {
            kind,
            path,
            why: why.to_owned(),
        })
        .collect()
}

/// The files whose coming and going changes what [`discover()`] finds.
pub fn places(root: &Path) -> Vec<PathBuf> {
    let files = PLACES.iter().map(|&(_, file, _)| file);
    files
        .chain([NTPSEC_DHCP, NTPSEC_DEFAULTS])
        .map(|file| root.join(file))
        .collect()
}

fn dhcp_replaces_ntpsec(root: &Path) -> bool {
    root.join(NTPSEC_DHCP).exists() && !ignores_dhcp(&root.join(NTPSEC_DEFAULTS))
}

/// Whether a file of shell assignments says `IGNORE_DHCP=yes`.
fn ignores_dhcp(path: &Path) -> bool {
    let Ok((_, text)) = files::read(path) else {
        return false;
    };
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("IGNORE_DHCP="))
        .next_back()
        .and_then(|value| value.split_ascii_whitespace().next())
        .is_some_and(|value| value.trim_matches(['"', '\'']) == "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) -> PathBuf {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, text).expect("written");
        path
    }

    fn found(root: &Path) -> Vec<String> {
        discover(root)
            .iter()
            .map(|source| {
                let path = source.path.strip_prefix(root).expect("under the root");
                format!("{}:{}", source.kind.name(), path.display())
            })
            .collect()
    }

    #[test]
    fn files_are_found_where_distributions_put_them() {
        let root = tempfile::tempdir().expect("a directory");
        assert!(found(root.path()).is_empty());
        for file in [
            "etc/ntp.conf",
            "etc/ntpsec/ntp.conf",
            "etc/chrony.conf",
            "etc/chrony/chrony.conf",
        ] {
            write(root.path(), file, "");
        }
        assert_eq!(
            found(root.path()),
            [
                "ntp.conf:etc/ntp.conf",
                "ntp.conf:etc/ntpsec/ntp.conf",
                "chrony:etc/chrony.conf",
                "chrony:etc/chrony/chrony.conf",
            ]
        );
        assert!(places(root.path()).contains(&root.path().join("run/ntpsec/ntp.conf.dhcp")));
    }

    #[test]
    fn dhcp_replaces_debians_file_unless_told_not_to() {
        let root = tempfile::tempdir().expect("a directory");
        write(root.path(), "etc/ntpsec/ntp.conf", "");
        write(root.path(), "run/ntpsec/ntp.conf.dhcp", "");
        assert_eq!(found(root.path()), ["ntp.conf:run/ntpsec/ntp.conf.dhcp"]);
        write(
            root.path(),
            "etc/default/ntpsec",
            "#IGNORE_DHCP=yes\nIGNORE_DHCP=\"\"\n",
        );
        assert_eq!(found(root.path()), ["ntp.conf:run/ntpsec/ntp.conf.dhcp"]);
        write(
            root.path(),
            "etc/default/ntpsec",
            "IGNORE_DHCP=''\n IGNORE_DHCP=\"yes\" # ours\n",
        );
        assert_eq!(found(root.path()), ["ntp.conf:etc/ntpsec/ntp.conf"]);
    }

    #[test]
    fn a_dialect_is_told_from_its_name_the_files_name_or_the_files_contents() {
        let root = tempfile::tempdir().expect("a directory");
        let a = write(
            root.path(),
            "a",
            "# mine\npool x\nMakeStep 1 3\nrestrict default\n",
        );
        let b = write(
            root.path(),
            "b",
            "driftfile x\nrestrict default\nmakestep 1 3\n",
        );
        let c = write(root.path(), "c:d", "server x\n");
        for (text, expected) in [
            (a.display().to_string(), Kind::Chrony),
            (b.display().to_string(), Kind::NtpConf),
            (c.display().to_string(), Kind::NtpConf),
            (format!("ntp.conf:{}", a.display()), Kind::NtpConf),
            (format!("chrony:{}", b.display()), Kind::Chrony),
            ("/nowhere/my-chrony.conf".to_owned(), Kind::Chrony),
            ("dhcp.sources".to_owned(), Kind::Chrony),
            ("/nowhere".to_owned(), Kind::NtpConf),
        ] {
            let source: Source = text.parse().expect("a source");
            assert_eq!(source.kind, expected, "{text}");
            let again: Source = source.to_string().parse().expect("a source");
            assert_eq!(again, source);
        }
    }

    #[test]
    fn a_source_that_names_nothing_is_refused() {
        for text in ["", "chrony:"] {
            assert_eq!(text.parse::<Source>(), Err(SourceError::NoFile));
        }
        let unknown = SourceError::UnknownDialect("openntpd".to_owned());
        assert_eq!("openntpd:ntpd.conf".parse::<Source>(), Err(unknown));
    }
}
