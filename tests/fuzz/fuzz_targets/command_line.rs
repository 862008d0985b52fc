//! A running daemon's command line, after a byte that says which daemon's.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::targets;

fuzz_target!(|bytes: &[u8]| targets::command_line(bytes));
