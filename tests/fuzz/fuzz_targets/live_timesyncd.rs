//! A daemon's answer: the address that timesyncd has on D-Bus.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard::query::fuzzing::timesyncd;
use ntpguard_fuzz::used;

fuzz_target!(|answer: &[u8]| used(&timesyncd(answer)));
