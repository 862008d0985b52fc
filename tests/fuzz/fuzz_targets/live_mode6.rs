//! A daemon's answer: ntpd's and NTPsec's responses of mode 6.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard::query::fuzzing::mode6;
use ntpguard_fuzz::used;

fuzz_target!(|answer: &[u8]| used(&mode6(answer)));
