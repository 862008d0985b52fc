//! What is wrong with files that others than root have written, in few words: they choose how much that is.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::sources::{Place, Problem, Reading, Severity, Speaker, budget::Budget};

/// Takes the problems of files that are not root's out of a reading: those of a kind in a file once, with
/// their number, and no more than the speakers' budgets have room for.
pub(super) fn of_others(reading: &mut Reading) -> Vec<Problem> {
    let speakers = &reading.speakers;
    let speaker = |problem: &Problem| speakers.get(&problem.place.file).copied();
    let (others, of_root): (Vec<_>, Vec<_>) = std::mem::take(&mut reading.problems)
        .into_iter()
        .map(|problem| (speaker(&problem).unwrap_or(Speaker::Root), problem))
        .partition(|(speaker, _)| *speaker != Speaker::Root);
    reading.problems = of_root.into_iter().map(|(_, problem)| problem).collect();
    digest(others)
}

/// A kind of problem: the file, how bad it is, and what is said.
type Kind = (Speaker, Arc<Path>, Severity, String);

fn digest(problems: Vec<(Speaker, Problem)>) -> Vec<Problem> {
    let mut counted: BTreeMap<Kind, (Place, usize)> = BTreeMap::new();
    let mut order: Vec<Kind> = Vec::new();
    for (speaker, problem) in problems {
        let file = Arc::clone(&problem.place.file);
        let kind = (speaker, file, problem.severity, problem.message);
        let (_, count) = counted.entry(kind.clone()).or_insert_with(|| {
            order.push(kind);
            (problem.place, 0)
        });
        *count += 1;
    }
    // What is said of a whole file, as who can write it, first.
    order.sort_by_key(|kind| counted[kind].0.line != 0);
    let mut kept: BTreeMap<Speaker, usize> = BTreeMap::new();
    let mut few = Vec::new();
    let mut more: BTreeMap<Speaker, (Place, usize)> = BTreeMap::new();
    for kind in order {
        let (place, count) = counted[&kind].clone();
        let (speaker, _, severity, message) = kind;
        let kept = kept.entry(speaker).or_default();
        *kept += 1;
        if *kept > Budget::of(speaker).problems {
            more.entry(speaker).or_insert((place, 0)).1 += count;
            continue;
        }
        few.push(Problem {
            place,
            message: match count {
                1 => message,
                _ => format!("{message} (and {} more times in this file)", count - 1),
            },
            severity,
        });
    }
    let more = more.into_values().map(|(place, count)| Problem {
        place,
        message: format!(
            "the budget of problems is used up: {count} more, here and below, are not shown"
        ),
        severity: Severity::Error,
    });
    few.extend(more);
    few
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "/etc/chrony/chrony.conf";
    const THEIRS: &str = "/srv/them/x.conf";

    fn problem(file: &str, line: u32, message: &str) -> Problem {
        Problem {
            place: Place {
                file: Path::new(file).into(),
                line,
                column: 1,
            },
            message: message.to_owned(),
            severity: Severity::Error,
        }
    }

    fn reading(problems: Vec<Problem>) -> Reading {
        let speakers = [(OWN, Speaker::Root), (THEIRS, Speaker::Others)];
        Reading {
            problems,
            speakers: speakers
                .map(|(file, speaker)| (Path::new(file).into(), speaker))
                .into(),
            ..Reading::default()
        }
    }

    #[test]
    fn a_thousand_lines_of_others_at_fault_are_one_problem_and_roots_are_each_one() {
        let theirs = (1..=1_000).map(|line| problem(THEIRS, line, "no such file"));
        let own = (1..=100).map(|line| problem(OWN, line, "no such file"));
        let mut reading = reading(theirs.chain(own).collect());
        let few = of_others(&mut reading);
        assert_eq!(few.len(), 1);
        assert_eq!(few[0].place.line, 1);
        assert_eq!(
            few[0].message,
            "no such file (and 999 more times in this file)"
        );
        assert_eq!(reading.problems.len(), 100);
    }

    #[test]
    fn problems_of_many_kinds_end_with_the_budget_and_say_so() {
        let kinds = (1..=300).map(|line| problem(THEIRS, line, &format!("{line} is wrong")));
        let whole = problem(THEIRS, 0, "others can write this file");
        let few = of_others(&mut reading(kinds.chain([whole]).collect()));
        assert_eq!(few.len(), Budget::of(Speaker::Others).problems + 1);
        assert_eq!(few[0].message, "others can write this file");
        let last = few.last().unwrap();
        assert!(last.message.contains("285 more"), "{last}");
        assert!(last.message.contains("used up"), "{last}");
    }
}
