//! A daemon's answer: chronyd's replies.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::targets;

fuzz_target!(|bytes: &[u8]| targets::live_chrony(bytes));
