//! What looking after the attachments costs.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use super::harness::{Pins, in_netns, servers, veth};
use crate::datapath::{Guard, Occasion, Options};

/// A thousandth of a CPU, looking every three seconds, in a build for debugging on a busy machine.
const MOST: Duration = Duration::from_millis(3);

/// CPU time of this process so far.
fn spent() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let [user, system] = [usage.user_time(), usage.system_time()].map(|time| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(micros.cast_unsigned())
    });
    user + system
}

#[test]
fn a_look_at_what_is_attached_costs_next_to_nothing() {
    const LOOKS: u32 = 100;
    in_netns(|| {
        let pins = Pins::new();
        let options = Options::new(&pins.0, vec![veth("g0")]);
        let mut guard = Guard::start(&options, &servers(&["192.0.2.1"])).unwrap();
        // The first asks for all interfaces.
        guard.reattach(Occasion::Tick);
        // Other tests run in this process: the least of several rounds is what it costs.
        let least = (0..5)
            .map(|_| {
                let before = spent();
                (0..LOOKS).for_each(|_| guard.reattach(Occasion::Tick));
                spent().saturating_sub(before) / LOOKS
            })
            .min()
            .unwrap();
        assert!(guard.look().unwrap().findings.is_empty());
        println!("a look takes {least:?} of a CPU");
        assert!(least < MOST, "{least:?}");
    });
}
