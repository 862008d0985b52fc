//! Configuration files that a time daemon and its guard both read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// A configuration file that is there before the daemon that reads it. It goes on drop.
#[derive(Debug)]
pub struct ConfigFile {
    // Kept for its drop, which removes the file.
    _directory: TempDir,
    path: PathBuf,
}

impl ConfigFile {
    /// Writes an `ntp.conf`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn ntp(text: &str) -> Result<Self> {
        Self::named("ntp.conf", text)
    }

    /// Writes a `chrony.conf`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn chrony(text: &str) -> Result<Self> {
        Self::named("chrony.conf", text)
    }

    /// Writes a guard's own configuration.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn guard(text: &str) -> Result<Self> {
        Self::named("ntpguard.toml", text)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it anew.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, text: &str) -> Result<()> {
        fs::write(&self.path, text).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Writes a file of this name.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn named(name: &str, text: &str) -> Result<Self> {
        let directory = tempfile::tempdir().context("no place for a configuration file")?;
        let path = directory.path().join(name);
        let file = Self {
            _directory: directory,
            path,
        };
        file.write(text)?;
        Ok(file)
    }
}
