//! What is wrong with the daemons that do not say which sources they use. It is logged when it is new:
//! an ordinary user who can make a daemon stumble again and again gets no line for each time.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    query::{Answer, AskError},
    sources::Problem,
};

/// How long a complaint that was logged is not logged again.
const AGAIN: Duration = Duration::from_secs(3_600);

/// The most complaints that are logged in that time.
const MOST: usize = 32;

/// What is wrong now, and what was logged.
#[derive(Default)]
pub(super) struct Complaints {
    current: BTreeMap<&'static str, String>,
    /// What this process may not look at to ask a daemon.
    unseen: BTreeMap<&'static str, Problem>,
    logged: BTreeMap<(&'static str, String), Instant>,
}

impl Complaints {
    /// Takes what came of asking a daemon, and logs what is wrong if that is new.
    pub(super) fn hear(&mut self, daemon: &'static str, heard: &Result<Option<Answer>, AskError>) {
        match heard.as_ref().err().and_then(AskError::problem) {
            Some(problem) => self.unseen.insert(daemon, problem),
            None => self.unseen.remove(daemon),
        };
        let answer = match heard {
            Ok(answer) => answer.as_ref(),
            Err(error) => return self.note(daemon, error.to_string(), error.is_by_choice()),
        };
        match answer.and_then(|answer| answer.flaw) {
            Some(flaw) => self.note(daemon, flaw.to_string(), false),
            None => drop(self.current.remove(daemon)),
        }
    }

    fn note(&mut self, daemon: &'static str, why: String, is_by_choice: bool) {
        if self.is_to_be_logged(daemon, &why, Instant::now()) {
            if is_by_choice {
                tracing::info!("not querying {daemon} for its sources: {why}");
            } else {
                tracing::warn!(
                    "cannot query {daemon}: {why}; using its configuration and requests only"
                );
            }
        }
        self.current.insert(daemon, why);
    }

    /// Each daemon that something is wrong with, and what.
    pub(super) fn current(&self) -> impl Iterator<Item = (&str, &str)> {
        self.current
            .iter()
            .map(|(daemon, why)| (*daemon, why.as_str()))
    }

    /// What this process may not look at: the same for all daemons that it concerns.
    pub(super) fn unseen(&self) -> Option<Problem> {
        self.unseen.values().next().cloned()
    }

    fn is_to_be_logged(&mut self, daemon: &'static str, why: &str, now: Instant) -> bool {
        self.logged.retain(|_, logged| now - *logged < AGAIN);
        let complaint = (daemon, why.to_owned());
        let is_new = self.logged.len() < MOST && !self.logged.contains_key(&complaint);
        if is_new {
            self.logged.insert(complaint, now);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Flaw;

    #[test]
    fn a_complaint_is_logged_once_an_hour_and_so_many_at_most() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        assert!(complaints.is_to_be_logged("ntpd", "silent", start));
        assert!(!complaints.is_to_be_logged("ntpd", "silent", start));
        assert!(complaints.is_to_be_logged("chronyd", "silent", start));
        let logged = (0..1_000).filter(|number| {
            let why = format!("nonsense {number}");
            complaints.is_to_be_logged("ntpd", &why, start)
        });
        assert_eq!(logged.count(), MOST - 2);
        assert!(complaints.is_to_be_logged("ntpd", "silent", start + AGAIN));
    }

    #[test]
    fn what_may_not_be_looked_at_is_told_once_and_while_it_is_so() {
        let mut complaints = Complaints::default();
        let refused = || AskError::PortsUnseen {
            setting: "/proc/sys/setting".into(),
            error: std::io::ErrorKind::PermissionDenied.into(),
        };
        complaints.hear("ntpd", &Err(refused()));
        complaints.hear("chronyd", &Err(refused()));
        let told = complaints.unseen().unwrap().to_string();
        assert!(
            told.starts_with("/proc/sys/setting: cannot be read (permission denied)"),
            "{told}"
        );
        complaints.hear("ntpd", &Ok(None));
        assert!(complaints.unseen().is_some());
        complaints.hear("chronyd", &Err(AskError::Silence));
        assert_eq!(complaints.unseen(), None);
    }

    #[test]
    fn what_is_wrong_is_so_until_the_daemon_answers() {
        let mut complaints = Complaints::default();
        let flawed = Answer {
            flaw: Some(Flaw::Shifted("::2001:db8:0:0:0:0".parse().unwrap())),
            ..Answer::default()
        };
        complaints.hear("ntpd", &Err(AskError::Silence));
        complaints.hear("chronyd", &Err(AskError::Silence));
        complaints.hear("systemd-timesyncd", &Ok(Some(flawed)));
        complaints.hear("ntpd", &Ok(None));
        let current: Vec<_> = complaints.current().map(|(daemon, _)| daemon).collect();
        assert_eq!(current, ["chronyd", "systemd-timesyncd"]);
        complaints.hear("systemd-timesyncd", &Ok(Some(Answer::default())));
        assert_eq!(complaints.current().count(), 1);
    }
}
