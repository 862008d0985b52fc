//! A daemon's answer: ntpd's and NTPsec's responses of mode 6.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::targets;

fuzz_target!(|bytes: &[u8]| targets::live_mode6(bytes));
