//! A configuration: the options of busybox's ntpd in an init script's settings.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard::sources::Kind;
use ntpguard_fuzz::read;

fuzz_target!(|text: &[u8]| read(Kind::NtpdOpts, "conf.d/ntpd", text));
