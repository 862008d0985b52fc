//! Anybody's word, and what DNS answers for the names in it: a byte says who speaks, one how.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::say;

fuzz_target!(|input: (u8, u8, [u8; 8], &[u8])| say(input.0, input.1, input.3, &input.2));
