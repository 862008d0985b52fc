//! A configuration: OpenNTPD's ntpd.conf.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::targets;

fuzz_target!(|bytes: &[u8]| targets::openntpd(bytes));
