//! How long a source counts that only a running daemon names.

use std::collections::BTreeMap;

use super::Source;
use crate::clock::BootSeconds;

/// How long, in seconds, such a source stays after its daemon was last seen: long enough for the
/// daemon to be upgraded and start again.
const FLEETING: u32 = 60;

/// When the daemons behind fleeting sources were last seen.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    seen: BTreeMap<String, BootSeconds>,
}

impl Sightings {
    /// The sources that count now: those found, and of those that counted `before` the fleeting
    /// ones whose daemon was there a moment ago.
    pub fn update(
        &mut self,
        before: &[Source],
        mut found: Vec<Source>,
        now: BootSeconds,
    ) -> Vec<Source> {
        for source in found.iter().filter(|source| source.fleeting) {
            self.seen.insert(source.to_string(), now);
        }
        self.seen.retain(|_, seen| now.since(*seen) < FLEETING);
        for source in before {
            let id = source.to_string();
            if self.seen.contains_key(&id) && !found.iter().any(|found| found.to_string() == id) {
                found.push(source.clone().left());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemons_source_outlives_its_restart_and_not_its_end() {
        let source = |spelt: &str, fleeting| Source {
            fleeting,
            ..spelt.parse().expect("a source")
        };
        let file = source("chrony:/etc/chrony.conf", false);
        let first = source("command-line:/proc/7/cmdline", true);
        let second = source("command-line:/proc/8/cmdline", true);
        let mut sightings = Sightings::default();
        let mut at = |now, before: &[Source], found: &[&Source]| {
            let found = found.iter().copied().cloned().collect();
            sightings.update(before, found, BootSeconds(now))
        };
        let before = at(100, &[], &[&file, &first]);
        assert_eq!(before, [file.clone(), first.clone()]);
        let between = at(110, &before, &[&file]);
        assert_eq!(between, before);
        let after = at(120, &between, &[&file, &second]);
        assert_eq!(after, [file.clone(), second.clone(), first]);
        let later = at(160, &after, &[&second]);
        assert_eq!(later, [second]);
        assert!(at(220, &later, &[]).is_empty());
    }
}
