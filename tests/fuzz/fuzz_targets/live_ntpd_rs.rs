//! A daemon's answer: ntpd-rs's observations.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::targets;

fuzz_target!(|bytes: &[u8]| targets::live_ntpd_rs(bytes));
