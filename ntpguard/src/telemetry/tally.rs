//! Packets judged, and how many of them were told.

use ntpguard_common::{
    events::Event,
    reason::{Counters, Reason},
};

/// Packets that events so far stand for, by reason: what the counters were when it was last told of.
///
/// Counters tell it, and not the programs: they are right also where the buffer was full.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// Enforced and monitored, as in `COUNTERS`.
    accounted: [Counters; 2],
}

impl Tally {
    /// Begins with these counters: what they counted is not told of any more.
    pub const fn new(counted: [Counters; 2]) -> Self {
        Self { accounted: counted }
    }

    /// How many packets each of these events stands for beside its own, given the counters as they
    /// are after the last of them: those of its reason that were judged since that was told before,
    /// in equal shares.
    pub fn untold(&mut self, events: &[Event], counted: &[Counters; 2]) -> Vec<u64> {
        let mut untold = vec![0; events.len()];
        for (mode, (accounted, counted)) in self.accounted.iter_mut().zip(counted).enumerate() {
            for &reason in Reason::ALL {
                let is_one =
                    |event: &Event| event.mode as usize == mode && event.reason == reason as u32;
                let told: Vec<usize> = (0..events.len())
                    .filter(|place| is_one(&events[*place]))
                    .collect();
                if told.is_empty() {
                    continue;
                }
                // An event that came after those here can be counted already: it is among the rest
                // now, and made up for when it comes itself.
                let known = accounted.get(reason) + told.len() as u64;
                let rest = counted.get(reason).saturating_sub(known);
                for (place, share) in told.iter().zip(shares(rest, told.len() as u64)) {
                    untold[*place] = share;
                }
                accounted.set(reason, known + rest);
            }
        }
        untold
    }
}

/// `sum` in `count` parts as equal as can be.
fn shares(sum: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |place| sum / count + u64::from(place < sum % count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(reason: Reason, mode: u32) -> Event {
        Event {
            reason: reason as u32,
            mode,
            ..Event::default()
        }
    }

    fn counted(reason: Reason, packets: u64) -> Counters {
        let mut counters = Counters::default();
        counters.set(reason, packets);
        counters
    }

    #[test]
    fn an_event_stands_for_what_was_judged_since_the_one_before() {
        let mut tally = Tally::new([counted(Reason::Unlisted, 5), Counters::default()]);
        let told = [event(Reason::Unlisted, 0)];
        let now = |packets| [counted(Reason::Unlisted, packets), Counters::default()];
        assert_eq!(tally.untold(&told, &now(6)), [0]);
        assert_eq!(tally.untold(&told, &now(106)), [99]);
        assert_eq!(tally.untold(&[told[0], told[0]], &now(111)), [2, 1]);
        // This one was counted before it came.
        assert_eq!(tally.untold(&told, &now(111)), [0]);
        assert_eq!(tally.untold(&told, &now(115)), [2]);
    }

    #[test]
    fn reasons_and_modes_are_counted_apart() {
        let mut tally = Tally::new([Counters::default(); 2]);
        let told = [event(Reason::Mode, 1), event(Reason::Unlisted, 0)];
        let now = [counted(Reason::Unlisted, 10), counted(Reason::Mode, 3)];
        assert_eq!(tally.untold(&told, &now), [2, 9]);
        // Of what was not told of, nothing is lost.
        let mut tally = Tally::new([Counters::default(); 2]);
        assert_eq!(tally.untold(&told[..1], &now), [2]);
        assert_eq!(tally.untold(&told[1..], &now), [9]);
    }

    proptest! {
        /// Told and untold packets are those counted, however they come, and whichever events come
        /// later than they are counted.
        #[test]
        fn nothing_is_lost_or_counted_twice(
            steps in prop::collection::vec((0_u64..4, 0_u64..3, 0_u64..1000), 1..50)
        ) {
            let mut tally = Tally::new([Counters::default(); 2]);
            let (mut packets, mut sum, mut late) = (0, 0, 0);
            // In the end enough are judged to make up for all.
            for (told, later, more) in steps.into_iter().chain([(1, 0, 200)]) {
                packets += told + later + more;
                let events = vec![event(Reason::Private, 0); (late + told) as usize];
                late = later;
                let now = [counted(Reason::Private, packets), Counters::default()];
                sum += events.len() as u64 + tally.untold(&events, &now).iter().sum::<u64>();
                prop_assert!(events.is_empty() || sum >= packets);
            }
            prop_assert_eq!(sum, packets);
        }
    }
}
