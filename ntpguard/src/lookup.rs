//! What comes of looking for something that this process may not be allowed to see: "may not look" is not
//! "is not there".

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::problem::{Place, Problem, Severity};

/// The three answers there are.
#[derive(Debug)]
pub enum Lookup<T> {
    /// It is there.
    Found(T),
    /// It is not.
    Absent,
    /// The kernel does not say, mostly for want of permission.
    Refused(io::Error),
}

impl<T> Lookup<T> {
    /// Makes an answer of a result.
    pub fn of(result: io::Result<T>) -> Self {
        match result {
            Ok(found) => Self::Found(found),
            Err(error) if is_absence(&error) => Self::Absent,
            Err(error) => Self::Refused(error),
        }
    }

    /// What was found, for those to whom it does not matter why nothing was.
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Absent | Self::Refused(_) => None,
        }
    }
}

/// The files that this process was refused when it last opened them, for `status`. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct RefusedFiles(Arc<Mutex<BTreeMap<PathBuf, Problem>>>);

impl RefusedFiles {
    /// Takes what came of opening a file. `outcome` is what follows where that is refused, and the cure.
    /// Says whether it is refused and was not before.
    pub fn note<T>(&self, file: &Path, opened: &Lookup<T>, outcome: &str) -> bool {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Lookup::Refused(error) = opened else {
            refused.remove(file);
            return false;
        };
        let problem = refusal(file, error, outcome);
        refused.insert(file.to_owned(), problem).is_none()
    }

    /// Each of them, with what follows.
    pub fn problems(&self) -> Vec<Problem> {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.values().cloned().collect()
    }
}

/// That a file cannot be read, for this reason and with this outcome.
pub fn refusal(file: &Path, error: &io::Error, outcome: &str) -> Problem {
    Problem {
        place: Place {
            file: file.into(),
            line: 0,
            column: 0,
        },
        message: format!("cannot be read ({error}): {outcome}"),
        severity: Severity::Unreadable,
    }
}

/// Whether an error says that the system, or this process, has no more of what it takes to look: not what
/// it looked for.
pub fn is_exhaustion(error: &io::Error) -> bool {
    use nix::libc::{EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(
        error.raw_os_error(),
        Some(EMFILE | ENFILE | ENOMEM | ENOBUFS | EAGAIN)
    )
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_until_the_file_can_be_read_or_is_gone() {
        let refused = RefusedFiles::default();
        let (file, outcome) = (Path::new("/etc/hosts"), "so be it");
        let of = |number| Lookup::<()>::of(Err(io::Error::from_raw_os_error(number)));
        assert!(refused.note(file, &of(nix::libc::EACCES), outcome));
        assert!(!refused.clone().note(file, &of(nix::libc::EACCES), outcome));
        let told = refused.problems()[0].to_string();
        assert!(
            told.starts_with("/etc/hosts: cannot be read (Permission denied"),
            "{told}"
        );
        assert!(told.ends_with("so be it"), "{told}");
        assert!(!refused.note(file, &of(nix::libc::ENOENT), outcome));
        assert!(refused.problems().is_empty());
        assert!(!refused.note(file, &Lookup::Found(()), outcome));
    }

    #[test]
    fn only_what_is_not_there_is_absent() {
        let of = |number| Lookup::<()>::of(Err(io::Error::from_raw_os_error(number)));
        for number in [nix::libc::ENOENT, nix::libc::ENOTDIR] {
            assert!(matches!(of(number), Lookup::Absent), "{number}");
        }
        for number in [nix::libc::EACCES, nix::libc::EPERM, nix::libc::EIO] {
            assert!(matches!(of(number), Lookup::Refused(_)), "{number}");
        }
        assert_eq!(Lookup::of(Ok(7)).found(), Some(7));
    }

    #[test]
    fn no_more_files_are_not_the_fault_of_the_file() {
        let is = |number| is_exhaustion(&io::Error::from_raw_os_error(number));
        assert!(is(nix::libc::EMFILE) && is(nix::libc::ENFILE));
        assert!(!is(nix::libc::ENOENT) && !is(nix::libc::EACCES));
    }
}
