//! A daemon's answer: ntpd-rs's observations.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard::query::fuzzing::ntpd_rs;
use ntpguard_fuzz::used;

fuzz_target!(|answer: &[u8]| used(&ntpd_rs(answer)));
