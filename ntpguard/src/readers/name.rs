//! Paths in messages.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// A path, which need not be text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Name(Vec<u8>);

impl Name {
    pub(crate) fn path(&self) -> PathBuf {
        OsStr::from_bytes(&self.0).into()
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Name {
    fn from(path: &P) -> Self {
        Self(path.as_ref().as_os_str().as_bytes().to_vec())
    }
}
