//! A daemon's answer: chronyd's replies.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard::query::fuzzing::chrony;
use ntpguard_fuzz::used;

fuzz_target!(|answer: &[u8]| used(&chrony(answer)));
