//! The lock on the pin directory, which comes and goes with it.

use std::{thread, time::Duration};

use super::harness::Pins;
use crate::datapath::PinDir;

#[test]
fn a_directory_that_goes_while_another_makes_it_is_made_again() {
    let pins = Pins::new();
    let turn = || {
        let pins = PinDir::new(&pins.0);
        for _ in 0..10_000 {
            drop(pins.lock(Duration::from_secs(10)).unwrap());
        }
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(turn);
        }
    });
    assert!(!pins.0.exists(), "the last to hold it takes it away");
}
