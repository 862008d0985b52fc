//! A configuration: ntp.conf, of the classic ntpd and NTPsec.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard::sources::Kind;
use ntpguard_fuzz::read;

fuzz_target!(|text: &[u8]| read(Kind::NtpConf, "ntp.conf", text));
