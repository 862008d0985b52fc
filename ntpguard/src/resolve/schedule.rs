//! When to ask again.

/// Least seconds from an answer to the next question, whatever its time to live.
pub const FLOOR: u32 = 60;

/// Most seconds from an answer to the next question.
pub const CEILING: u32 = 86_400;

/// Most seconds from a failure to the next try: a time daemon that waits for a name uses it as soon as it
/// is resolved again, and we must not be later by much.
pub const LONGEST_RETRY: u32 = 60;

/// Seconds to wait after an answer that lives for `ttl` seconds.
///
/// Up to a tenth is added to the time to live, by `jitter` (0 to 1), so that many hosts do not ask
/// in step. Added, not taken off: a caching resolver gives every asker the same answer until it
/// expires, so asking just before that brings the old one again and asking just after brings the
/// next. And since it gives the time that is left, the lateness never adds up and no answer of a
/// rotating name is missed.
pub(super) fn after_answer(ttl: u32, jitter: f64) -> u32 {
    const LONGEST_TTL: u32 = CEILING - CEILING / 11;
    let ttl = ttl.clamp(FLOOR, LONGEST_TTL);
    ttl + part_of(ttl / 10, jitter)
}

/// Seconds to wait after so many failures in a row: 2, 4, 8 and so on up to 48, and up to a
/// quarter more by `jitter` (0 to 1), [`LONGEST_RETRY`] at most.
pub(super) fn after_failures(failures: u32, jitter: f64) -> u32 {
    const LONGEST: u32 = LONGEST_RETRY - LONGEST_RETRY / 5;
    let wait = 2u32.saturating_pow(failures.max(1)).min(LONGEST);
    wait + part_of(wait / 4, jitter)
}

#[expect(clippy::cast_sign_loss, reason = "the part is clamped to 0 and more")]
fn part_of(whole: u32, part: f64) -> u32 {
    (f64::from(whole) * part.clamp(0.0, 1.0)) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pools_answer_is_asked_for_again_just_after_it_expires() {
        assert_eq!(after_answer(150, 0.0), 150);
        assert_eq!(after_answer(150, 1.0), 165);
    }

    #[test]
    fn retries_double_until_they_are_as_far_apart_as_they_get() {
        let waits: Vec<u32> = (1..=10)
            .map(|failures| after_failures(failures, 0.0))
            .collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 48, 48, 48, 48, 48]);
        assert_eq!(after_failures(u32::MAX, 1.0), LONGEST_RETRY);
    }

    #[test]
    fn a_jitter_that_is_no_number_does_no_harm() {
        assert_eq!(after_answer(150, f64::NAN), 150);
        assert_eq!(after_answer(150, f64::INFINITY), 165);
        assert_eq!(after_failures(3, -1.0), 8);
    }

    proptest! {
        #[test]
        fn floor_and_ceiling_hold_for_every_ttl(ttl: u32, jitter in 0.0..=1.0) {
            let wait = after_answer(ttl, jitter);
            prop_assert!((FLOOR..=CEILING).contains(&wait), "{wait}");
            prop_assert!(ttl > CEILING || wait <= ttl.max(FLOOR) / 10 * 11 + 10);
        }

        #[test]
        fn retries_never_come_closer_together_and_have_a_bound(
            failures in 0u32..100,
            jitter in 0.0..=1.0,
            later in 0.0..=1.0,
        ) {
            let (one, next) = (after_failures(failures, jitter), after_failures(failures + 1, later));
            prop_assert!((2..=LONGEST_RETRY).contains(&one));
            prop_assert!(one <= next || one >= 48 && next >= 48);
        }
    }
}
