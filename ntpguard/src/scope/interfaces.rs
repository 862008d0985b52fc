//! The interfaces of the network namespace, as far as addresses name them.

use std::collections::{BTreeMap, BTreeSet};

use super::Scope;

/// The interfaces that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    by_name: BTreeMap<String, u32>,
    names: BTreeMap<u32, String>,
    /// What each stands on: a VLAN on its parent, a bond or bridge on its members.
    lower: BTreeMap<u32, BTreeSet<u32>>,
}

impl Interfaces {
    /// Adds an interface.
    pub fn add(&mut self, index: u32, name: &str) {
        self.by_name.insert(name.to_owned(), index);
        self.names.insert(index, name.to_owned());
    }

    /// Adds another name of an interface.
    pub fn add_name(&mut self, index: u32, name: &str) {
        self.by_name.insert(name.to_owned(), index);
    }

    /// Says that an interface stands on another.
    pub fn stands_on(&mut self, upper: u32, lower: u32) {
        self.lower.entry(upper).or_default().insert(lower);
    }

    /// The index of an interface that is there.
    fn index(&self, scope: &Scope) -> Option<u32> {
        let by_name = self.by_name.get(scope.name()).copied();
        let by_index = || {
            let index = scope.name().parse().ok()?;
            self.names.contains_key(&index).then_some(index)
        };
        by_name.or_else(by_index)
    }

    /// Where the packets of a link may be seen to arrive: at its interface, and at all that it stands on,
    /// since that may be what is guarded. None while the interface is not there.
    pub fn of_link(&self, scope: &Scope) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut to_see: Vec<u32> = self.index(scope).into_iter().collect();
        while let Some(index) = to_see.pop() {
            if found.insert(index) {
                to_see.extend(self.lower.get(&index).into_iter().flatten());
            }
        }
        found
    }

    /// Whether an interface is there.
    pub fn has(&self, scope: &Scope) -> bool {
        self.index(scope).is_some()
    }

    /// The interface by its name, whichever way it is named.
    pub fn named(&self, scope: &Scope) -> Scope {
        self.index(scope)
            .map_or_else(|| scope.clone(), |index| self.scope(index))
    }

    /// The interface of this index, by its name if it is there.
    pub fn scope(&self, index: u32) -> Scope {
        let name = self.names.get(&index);
        name.and_then(|name| Scope::new(name))
            .unwrap_or_else(|| Scope::of_index(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(name: &str) -> Scope {
        Scope::new(name).unwrap()
    }

    fn interfaces() -> Interfaces {
        let mut interfaces = Interfaces::default();
        for (index, name) in [(2, "eth0"), (3, "eth1"), (4, "bond0"), (5, "bond0.7")] {
            interfaces.add(index, name);
        }
        interfaces.add_name(2, "enp3s0");
        interfaces.stands_on(4, 2);
        interfaces.stands_on(4, 3);
        interfaces.stands_on(5, 4);
        interfaces
    }

    #[test]
    fn a_link_is_seen_at_all_that_its_interface_stands_on() {
        let of = |name| interfaces().of_link(&scope(name));
        assert_eq!(of("eth0"), [2].into());
        assert_eq!(of("bond0"), [2, 3, 4].into());
        assert_eq!(of("bond0.7"), [2, 3, 4, 5].into());
        assert_eq!(of("eth7"), [].into());
    }

    #[test]
    fn an_interface_has_names_and_a_number() {
        let interfaces = interfaces();
        for name in ["eth0", "enp3s0", "2"] {
            assert_eq!(interfaces.named(&scope(name)), scope("eth0"), "{name}");
        }
        for absent in ["eth7", "7"] {
            assert!(!interfaces.has(&scope(absent)), "{absent}");
            assert_eq!(interfaces.named(&scope(absent)), scope(absent));
        }
        assert_eq!(interfaces.scope(5), scope("bond0.7"));
    }

    #[test]
    fn interfaces_that_stand_on_each_other_are_no_endless_way() {
        let mut interfaces = interfaces();
        interfaces.stands_on(2, 5);
        assert_eq!(interfaces.of_link(&scope("eth0")), [2, 3, 4, 5].into());
    }
}
