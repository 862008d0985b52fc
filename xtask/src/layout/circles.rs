//! Modules side by side that import one another in a circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::modules::{Edge, Name};

/// As many imports from one module to another are shown.
const SHOWN: usize = 3;

/// Modules at one level of the tree, each of which leads to each other.
#[derive(Debug)]
pub(super) struct Circle {
    /// The module that they are in.
    pub(super) parent: Name,
    /// Their own names.
    pub(super) members: BTreeSet<String>,
    /// The imports that join them.
    joints: BTreeMap<(String, String), Vec<Edge>>,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<_> = self.members.iter().map(String::as_str).collect();
        for name in &self.parent {
            write!(f, "{name}::")?;
        }
        write!(f, "{{{}}} import one another:", members.join(", "))?;
        // The thinnest joint is the one to cut.
        let mut joints: Vec<_> = self.joints.iter().collect();
        joints.sort_by_key(|(_, edges)| edges.len());
        for ((from, to), edges) in joints {
            write!(f, "\n    {from} -> {to}")?;
            let mut places: Vec<_> = edges.iter().map(|edge| (&edge.file, edge.line)).collect();
            places.dedup();
            for (file, line) in places.iter().take(SHOWN) {
                write!(f, "\n      {}:{line}", file.display())?;
            }
            if let Some(more) = places.len().checked_sub(SHOWN + 1) {
                write!(f, "\n      and {} more", more + 1)?;
            }
        }
        Ok(())
    }
}

/// The circles at every level. A module and its own children may import each other.
pub(super) fn circles(edges: &[Edge]) -> Vec<Circle> {
    let mut levels: BTreeMap<&[String], Level> = BTreeMap::new();
    for edge in edges {
        let shared = edge
            .from
            .iter()
            .zip(&edge.to)
            .take_while(|(a, b)| a == b)
            .count();
        if let (Some(from), Some(to)) = (edge.from.get(shared), edge.to.get(shared)) {
            let level = levels.entry(&edge.from[..shared]).or_default();
            let joint = level.entry((from.clone(), to.clone())).or_default();
            joint.push(edge.clone());
        }
    }
    levels
        .into_iter()
        .flat_map(|(parent, level)| circles_of(parent, &level))
        .collect()
}

type Level = BTreeMap<(String, String), Vec<Edge>>;

fn circles_of(parent: &[String], level: &Level) -> Vec<Circle> {
    let names: BTreeSet<&String> = level.keys().flat_map(|(from, to)| [from, to]).collect();
    let reached: BTreeMap<_, _> = names
        .iter()
        .map(|name| (*name, reachable(level, name)))
        .collect();
    let mut sets = BTreeSet::new();
    for name in names {
        let back = |other: &&String| reached.get(other).is_some_and(|set| set.contains(name));
        let members: BTreeSet<String> = reached[name]
            .iter()
            .copied()
            .filter(back)
            .cloned()
            .collect();
        if !members.is_empty() {
            sets.insert(members);
        }
    }
    let circle = |members: BTreeSet<String>| Circle {
        parent: parent.to_vec(),
        joints: level
            .iter()
            .filter(|((from, to), _)| members.contains(from) && members.contains(to))
            .map(|(joint, edges)| (joint.clone(), edges.clone()))
            .collect(),
        members,
    };
    sets.into_iter().map(circle).collect()
}

/// The modules that one leads to; itself only if it is in a circle.
fn reachable<'a>(level: &'a Level, start: &'a String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(name) = open.pop() {
        let next = level
            .keys()
            .filter(|(from, _)| from == name)
            .map(|(_, to)| to);
        open.extend(next.filter(|to| reached.insert(*to)));
    }
    reached
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn edge((from, to): (&str, &str)) -> Edge {
        let name = |path: &str| path.split("::").map(str::to_owned).collect();
        Edge {
            from: name(from),
            to: name(to),
            file: PathBuf::from(format!("{from}.rs")),
            line: 7,
        }
    }

    fn found(edges: &[(&str, &str)]) -> Vec<String> {
        let edges: Vec<_> = edges.iter().copied().map(edge).collect();
        let members = |circle: &Circle| circle.members.iter().cloned().collect::<Vec<_>>();
        circles(&edges)
            .iter()
            .map(|circle| members(circle).join(" "))
            .collect()
    }

    #[test]
    fn a_circle_is_found_at_its_level_however_long_it_is() {
        assert_eq!(
            found(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]),
            ["a b c"]
        );
        // Rooms that import from each other's insides are a circle of the rooms.
        assert_eq!(
            found(&[("r::a::x", "r::b"), ("r::b::y", "r::a::z")]),
            ["a b"]
        );
        assert_eq!(
            found(&[("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]),
            ["a b", "c d"]
        );
    }

    #[test]
    fn a_line_is_no_circle_and_neither_are_parent_and_child() {
        assert!(found(&[("a", "b"), ("b", "c"), ("a", "c")]).is_empty());
        assert!(found(&[("a", "a::b"), ("a::b", "a")]).is_empty());
    }

    #[test]
    fn the_imports_that_close_it_are_named() {
        let text = circles(&[edge(("r::a::x", "r::b")), edge(("r::b", "r::a"))])[0].to_string();
        assert!(text.starts_with("r::{a, b} import one another:"), "{text}");
        assert!(text.contains("a -> b\n      r::a::x.rs:7"), "{text}");
    }
}
