//! The judge: a frame that leaves, and one that comes in twice after it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::targets;

fuzz_target!(|bytes: &[u8]| targets::judge(bytes));
