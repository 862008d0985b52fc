//! Each target as a function of bytes: the programs in `fuzz_targets` call them with random input,
//! and a test here with the seeds.

use arbitrary::{Arbitrary, Unstructured};
use ntpguard::{query::fuzzing as live, sources::Kind};

pub use crate::frames::judge;
use crate::{read, read_command_line, say, used};

/// What is made of the bytes; nothing if they are too few.
pub(crate) fn arranged<'a, T: Arbitrary<'a>>(bytes: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(bytes)).ok()
}

macro_rules! targets {
    ($($(#[$doc:meta])* $name:ident: $bytes:ident => $work:expr;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Panics
            /// Where something is wrong, as a fuzz target is meant to.
            pub fn $name($bytes: &[u8]) {
                $work;
            }
        )*

        /// All of them, by name.
        #[cfg(test)]
        const TARGETS: &[(&str, fn(&[u8]))] = &[
            $((stringify!($name), $name),)*
            ("judge", judge),
        ];
    };
}

targets! {
    /// A configuration: chrony.conf.
    chrony: bytes => read(Kind::Chrony, "chrony.conf", bytes);
    /// What a speaker says, and what DNS answers.
    claims: bytes => if let Some((speaker, which, dns, text)) = arranged::<(u8, u8, [u8; 8], &[u8])>(bytes) {
        say(speaker, which, text, &dns);
    };
    /// The arguments of a running daemon.
    command_line: bytes => if let Some((program, arguments)) = arranged::<(u8, &[u8])>(bytes) {
        read_command_line(program, arguments);
    };
    /// A daemon's answer: chronyd's.
    live_chrony: bytes => used(&live::chrony(bytes));
    /// A daemon's answer: ntpd's and NTPsec's responses of mode 6.
    live_mode6: bytes => used(&live::mode6(bytes));
    /// A daemon's answer: that of ntpd-rs.
    live_ntpd_rs: bytes => used(&live::ntpd_rs(bytes));
    /// A daemon's answer: that of systemd-timesyncd.
    live_timesyncd: bytes => used(&live::timesyncd(bytes));
    /// A configuration: ntp.conf.
    ntp_conf: bytes => read(Kind::NtpConf, "ntp.conf", bytes);
    /// A configuration: ntpd's options on Alpine.
    ntpd_opts: bytes => read(Kind::NtpdOpts, "conf.d/ntpd", bytes);
    /// A configuration: ntp.toml.
    ntpd_rs: bytes => read(Kind::NtpdRs, "ntp.toml", bytes);
    /// A configuration: OpenNTPD's ntpd.conf.
    openntpd: bytes => read(Kind::OpenNtpd, "ntpd.conf", bytes);
    /// A configuration: timesyncd.conf.
    timesyncd: bytes => read(Kind::Timesyncd, "etc/systemd/timesyncd.conf", bytes);
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    fn entries(directory: &str) -> Vec<PathBuf> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn names(directory: &str) -> BTreeSet<String> {
        let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        entries(directory).iter().map(stem).collect()
    }

    #[test]
    fn every_program_has_its_function_and_its_seeds() {
        let functions: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(functions, names("fuzz_targets"));
        assert_eq!(functions, names("seeds"));
    }

    #[test]
    fn every_dialect_has_its_target() {
        for kind in Kind::ALL {
            let name = kind.name().replace(['-', '.'], "_");
            assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name}");
        }
    }

    #[test]
    fn every_seed_passes_its_target() {
        for (name, target) in TARGETS {
            let seeds = entries(&format!("seeds/{name}"));
            assert!(!seeds.is_empty(), "{name} has no seed");
            for seed in seeds {
                println!("{}", seed.display());
                target(&fs::read(&seed).unwrap());
            }
        }
    }

    #[test]
    fn seeds_of_more_than_text_are_understood() {
        for seed in entries("seeds/judge") {
            let bytes = fs::read(&seed).unwrap();
            assert!(
                arranged::<(u8, u8, &[u8])>(&bytes).is_some(),
                "{}",
                seed.display()
            );
        }
    }
}
