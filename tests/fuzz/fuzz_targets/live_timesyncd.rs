//! A daemon's answer: the address that timesyncd has on D-Bus.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::targets;

fuzz_target!(|bytes: &[u8]| targets::live_timesyncd(bytes));
