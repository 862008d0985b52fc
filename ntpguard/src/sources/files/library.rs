//! Where a dialect's reader has its files from.

use std::path::{Path, PathBuf};

use super::{FileError, Matches, Opened};
use crate::sources::Speaker;

/// The files of one configuration, as its reader may ask for them: [`Files`](crate::sources::Files) opens them
/// itself; a reader in a process apart has them from the guard.
pub trait Library {
    /// Whose configuration it is.
    fn speaker(&self) -> Speaker;

    /// The root directory of the process whose files these are, where that sees others than this one.
    fn root(&self) -> Option<&Path>;

    /// Reads a file whole.
    ///
    /// # Errors
    /// It is not there, may not be read, or is no configuration file.
    fn read(&self, path: &Path) -> Result<Opened, FileError>;

    /// The entries of a directory whose names end in `suffix` and are not hidden, in ASCII order, and
    /// no more than `most` of them.
    ///
    /// # Errors
    /// As for [`Library::read`].
    fn entries(
        &self,
        directory: &Path,
        suffix: &str,
        most: usize,
    ) -> Result<Vec<PathBuf>, FileError>;

    /// The paths that a glob(3) pattern finds, in order, and no more than `most` of them.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    fn glob(&self, pattern: &Path, most: usize) -> Result<Matches, String>;

    /// Whether there is anything at `path`.
    fn exists(&self, path: &Path) -> bool;

    /// Whether there is a directory at `path`.
    fn is_dir(&self, path: &Path) -> bool;

    /// Whether `path` leads to /dev/null.
    fn is_null(&self, path: &Path) -> bool;

    /// What `path` leads to, without links.
    fn real(&self, path: &Path) -> Option<PathBuf>;

    /// Whether these are this host's own files, as the guard sees them.
    fn are_ours(&self) -> bool {
        self.root().is_none()
    }

    /// The file that `text` names in a line of `file`: beside it, unless it is an absolute path. Where
    /// `file` is below another root directory, so is that.
    fn beside(&self, file: &Path, text: &str) -> PathBuf {
        match (self.root(), text.strip_prefix('/')) {
            (Some(root), Some(text)) => root.join(text.trim_start_matches('/')),
            _ => file.parent().unwrap_or(Path::new("")).join(text),
        }
    }
}
