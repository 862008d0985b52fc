//! A running daemon's command line, after a byte that says which daemon's.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::read_command_line;

fuzz_target!(|input: (u8, &[u8])| read_command_line(input.0, input.1));
