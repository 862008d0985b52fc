//! Anybody's word, and what DNS answers for the names in it: a byte says who speaks, one how.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::targets;

fuzz_target!(|bytes: &[u8]| targets::claims(bytes));
