//! What a server of Network Time Security (RFC 8915) needs: a key, and a certificate of its own.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use anyhow::{Context, Result};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

/// A certificate that nobody else vouches for, and its key, in files that go on drop.
#[derive(Debug)]
pub struct Certificate {
    directory: TempDir,
}

impl Certificate {
    /// Makes one for a server of this name.
    ///
    /// # Errors
    ///
    /// When there is no place for it.
    pub fn new(name: &str) -> Result<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()])?;
        let directory = tempfile::tempdir().context("no place for a certificate")?;
        let certificate = Self { directory };
        fs::write(certificate.path(), cert.pem())?;
        fs::write(certificate.key(), signing_key.serialize_pem())?;
        fs::set_permissions(certificate.key(), fs::Permissions::from_mode(0o600))?;
        Ok(certificate)
    }

    /// The lines of chrony.conf that make a server of it.
    pub fn chrony_server(&self) -> String {
        let (key, certificate) = (self.key(), self.path());
        format!(
            "ntsserverkey {}\nntsservercert {}\n",
            key.display(),
            certificate.display()
        )
    }

    /// The line of chrony.conf with which a client trusts it.
    pub fn chrony_client(&self) -> String {
        format!("ntstrustedcerts {}\n", self.path().display())
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }
}
