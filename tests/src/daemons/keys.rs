//! Symmetric keys that two daemons share.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// How a kind of key is called.
#[derive(Clone, Copy, Debug)]
struct Kind {
    chrony: &'static str,
    ntpsec: &'static str,
    secret: &'static str,
}

/// Keys 1, 2, 3. Sixteen characters: as many as AES-128 takes, and not so many that NTPsec would
/// take them for hexadecimal digits.
const KINDS: [Kind; 3] = [
    Kind {
        chrony: "MD5",
        ntpsec: "MD5",
        secret: "the-first-secret",
    },
    Kind {
        chrony: "SHA1",
        ntpsec: "SHA1",
        secret: "the-other-secret",
    },
    Kind {
        chrony: "AES128",
        ntpsec: "AES-128",
        secret: "the-third-secret",
    },
];

/// A file of keys, which goes on drop: 1 is for MD5, 2 for SHA1, 3 for AES-128 as a CMAC.
#[derive(Debug)]
pub struct KeyFile {
    file: NamedTempFile,
}

impl KeyFile {
    /// The numbers of the keys.
    pub const NUMBERS: [u8; 3] = [1, 2, 3];

    /// As chronyd reads it.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn chrony() -> Result<Self> {
        Self::write(|kind| kind.chrony)
    }

    /// As NTPsec reads it.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn ntpsec() -> Result<Self> {
        Self::write(|kind| kind.ntpsec)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    fn write(name: impl Fn(&Kind) -> &'static str) -> Result<Self> {
        let mut file = NamedTempFile::new().context("no place for a file of keys")?;
        for (number, kind) in Self::NUMBERS.iter().zip(&KINDS) {
            writeln!(file, "{number} {} {}", name(kind), kind.secret)?;
        }
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600))?;
        Ok(Self { file })
    }
}
