//! Where things are.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The directories of one checkout.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The checkout that `cargo xtask` was called in, or else the one this program was built in.
    pub(crate) fn find() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .join("..")
            .canonicalize()
            .with_context(|| format!("the workspace of {} cannot be read", package.display()))?;
        // This program is TARGET/debug/xtask, wherever cargo was told to put the target directory.
        let program = env::current_exe().context("the path of this program cannot be read")?;
        let target = program
            .ancestors()
            .nth(2)
            .context("cargo did not build this program")?
            .to_owned();
        Ok(Self { root, target })
    }

    /// The directory of the checkout.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo builds.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// What setup made or fetched: `.toolchain/NAME`. Nothing in there is under version control.
    pub(crate) fn made(&self, name: &str) -> PathBuf {
        self.root.join(".toolchain").join(name)
    }
}
