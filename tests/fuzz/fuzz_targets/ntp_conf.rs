//! A configuration: ntp.conf, of the classic ntpd and NTPsec.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::targets;

fuzz_target!(|bytes: &[u8]| targets::ntp_conf(bytes));
