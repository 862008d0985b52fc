use aya::sys::SyscallError;
use nix::libc::{EINVAL, EIO};

use super::*;
use crate::daemon::DaemonError;

/// How often a text stands in another.
fn times(part: &str, text: &str) -> usize {
    text.matches(part).count()
}

fn io_error() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

fn map_error() -> MapError {
    MapError::SyscallError(SyscallError {
        call: "bpf_map_update_elem",
        io_error: io_error(),
    })
}

fn netlink_error() -> rtnetlink::Error {
    let mut message = rtnetlink::packet_core::ErrorMessage::default();
    message.code = std::num::NonZeroI32::new(-EIO);
    message.header = [&[0; 16][..], &[10, 0, 1, 0], b"words\0"].concat();
    rtnetlink::Error::NetlinkError(message)
}

/// One of each.
fn all() -> Vec<Error> {
    let text = || "a thing".to_owned();
    let path = || PathBuf::from("/sys/fs/bpf/x");
    vec![
        Error::Privilege {
            doing: text(),
            why: "missing CAP_BPF".to_owned(),
        },
        Error::Known {
            doing: text(),
            why: "it is full".to_owned(),
            source: io_error(),
        },
        Error::System {
            doing: text(),
            source: io_error(),
        },
        Error::Object(Box::new(EbpfError::MapError(map_error()))),
        Error::Missing(text()),
        Error::Refused {
            program: "ingress",
            log: "R1 invalid".to_owned(),
            source: io_error(),
        },
        Error::Program {
            doing: text(),
            source: Box::new(ProgramError::MapError(map_error())),
        },
        Error::Pin {
            path: path(),
            source: PinError::SyscallError(SyscallError {
                call: "BPF_OBJ_PIN",
                io_error: io_error(),
            }),
        },
        Error::Map {
            map: text(),
            doing: "write",
            source: map_error(),
        },
        Error::Netlink {
            doing: text(),
            source: netlink_error(),
        },
    ]
}

#[test]
fn no_error_says_a_cause_twice_however_it_is_wrapped() {
    for error in all() {
        let short = error.to_string();
        let wrapped = anyhow::Error::new(DaemonError::from(error)).context("cannot start");
        let said = joined(wrapped.as_ref());
        assert!(said.starts_with("cannot start: "), "{said}");
        assert_eq!(times(&short, &said), 1, "{said}");
        assert!(times(&io_error().to_string(), &said) <= 1, "{said}");
        assert!(times("bpf_map_update_elem", &said) <= 1, "{said}");
    }
}

#[test]
fn the_errno_behind_an_error_is_told() {
    for error in all() {
        let has_errno = !matches!(error, Error::Privilege { .. } | Error::Missing(_));
        let said = error.to_string();
        assert_eq!(times("os error 5", &said), usize::from(has_errno), "{said}");
    }
}

#[test]
fn the_words_of_rtnetlink_are_told() {
    let error = Error::Netlink {
        doing: "add a filter".to_owned(),
        source: netlink_error(),
    };
    assert!(
        error
            .to_string()
            .starts_with("cannot add a filter: words ("),
        "{error}"
    );
}

#[test]
fn a_refused_program_keeps_the_last_lines_of_the_log() {
    let lines: Vec<String> = (1..=40).map(|line| format!("line {line}\n")).collect();
    let log = lines.join("\n");
    let kept = last_lines(&log, VERIFIER_LINES);
    assert_eq!(kept.lines().count(), VERIFIER_LINES);
    assert!(
        kept.starts_with("line 29") && kept.ends_with("line 40"),
        "{kept}"
    );
    // Root lacks nothing, so that it is the program's fault.
    let error = Error::load(
        "ingress",
        ProgramError::LoadError {
            io_error: io::Error::from_raw_os_error(EINVAL),
            verifier_log: aya_obj::VerifierLog::new(log),
        },
    );
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}
