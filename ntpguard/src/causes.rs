//! Errors for people: each cause once.

use std::error::Error;

use crate::extack;

/// An error and what is behind it, on one line, from the outside in. Many errors say what is behind them
/// already; that is not said again.
pub fn joined(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = text_of(cause);
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

fn text_of(cause: &(dyn Error + 'static)) -> String {
    // Its own text has no word of the kernel's.
    cause
        .downcast_ref()
        .map_or_else(|| cause.to_string(), extack::text)
}

#[cfg(test)]
mod tests {
    use std::io;

    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    enum Outer {
        #[error("cannot read a: {0}")]
        Says(#[source] io::Error),
        #[error("cannot read b")]
        Silent(#[source] io::Error),
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let cause = || io::Error::other("the disk is on fire");
        assert_eq!(
            joined(&Outer::Says(cause())),
            "cannot read a: the disk is on fire"
        );
        assert_eq!(
            joined(&Outer::Silent(cause())),
            "cannot read b: the disk is on fire"
        );
    }
}
