//! What comes of looking for something that this process may not be allowed to see: "may not look" is not
//! "is not there".

use std::io;

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
}
