//! A configuration: chrony.conf.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard::sources::Kind;
use ntpguard_fuzz::read;

fuzz_target!(|text: &[u8]| read(Kind::Chrony, "chrony.conf", text));
