//! A daemon's answer: what OpenNTPD's ntpctl prints.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntpguard::live::fuzzing::openntpd;
use ntpguard_fuzz::used;

fuzz_target!(|answer: &[u8]| used(&openntpd(answer)));
