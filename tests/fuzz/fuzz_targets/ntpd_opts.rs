//! A configuration: the options of busybox's ntpd in an init script's settings.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard_fuzz::targets;

fuzz_target!(|bytes: &[u8]| targets::ntpd_opts(bytes));
