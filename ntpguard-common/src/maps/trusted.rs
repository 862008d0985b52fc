//! Trusted senders, as the kernel knows them.

/// Uids that the sockets of one trusted cgroup may have.
pub const UIDS: usize = 4;

/// How far below the root of its hierarchy a trusted cgroup may be.
///
/// A container of a cluster inside a container is seven deep.
pub const DEEPEST: u32 = 8;

/// The depth of a cgroup for which it is not known.
pub const UNKNOWN_DEPTH: u32 = u32::MAX;

/// A trusted cgroup: the value of the `TRUSTED_CGROUPS` map. Its descendants are trusted with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TrustedCgroup {
    /// When it was found.
    pub since: u64,
    /// How many cgroups above it there are, the root among them, or [`UNKNOWN_DEPTH`].
    pub depth: u32,
    /// 1 where the uid does not matter.
    pub any_uid: u32,
    /// Where it does, the uids whose sockets count; those beyond the last repeat it.
    pub uids: [u32; UIDS],
}

impl TrustedCgroup {
    /// Whether a request from a socket of `uid` in the cgroup is trusted. The uid costs a call, so it
    /// is asked for only where it matters.
    #[inline(always)]
    pub fn trusts(&self, uid: impl Fn() -> u32) -> bool {
        if self.any_uid != 0 {
            return true;
        }
        self.uids.contains(&uid())
    }
}

/// A trusted uid: the value of the `TRUSTED_UIDS` map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TrustedUid {
    /// When it was named.
    pub since: u64,
}

/// The depths at which there are trusted cgroups, a bit for each, so that the kernel looks for no
/// ancestor at another. The root, at 0, is everybody's: only trials trust it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depths(pub u32);

impl Depths {
    /// Every depth but the root's.
    const ALL: Self = Self((2 << DEEPEST) - 2);

    /// The depths of these cgroups; all of them where one's is not known.
    pub fn of(trusted_cgroups: impl IntoIterator<Item = TrustedCgroup>) -> Self {
        trusted_cgroups
            .into_iter()
            .fold(Self::default(), |depths, cgroup_entry| {
                match cgroup_entry.depth {
                    0..=DEEPEST => Self(depths.0 | 1 << cgroup_entry.depth),
                    _ => Self::ALL,
                }
            })
    }

    /// Whether `is_trusted` holds of any of the depths, the highest cgroup first.
    #[inline(always)]
    pub fn any(self, is_trusted: impl Fn(u32) -> bool) -> bool {
        let mut left = self.0;
        for depth in 0..=DEEPEST {
            if left == 0 {
                return false;
            }
            if left & 1 != 0 && is_trusted(depth) {
                return true;
            }
            left >>= 1;
        }
        false
    }
}

#[cfg(feature = "user")]
mod pod {
    use super::{TrustedCgroup, TrustedUid};

    // SAFETY: repr(C), made of integers alone, without padding, valid for every bit pattern.
    unsafe impl aya::Pod for TrustedCgroup {}
    // SAFETY: as for TrustedCgroup.
    unsafe impl aya::Pod for TrustedUid {}
}

// Padding would leak into the maps and break their printing.
const _: () = assert!(size_of::<TrustedCgroup>() == 16 + 4 * UIDS);

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};
    use core::cell::RefCell;

    use super::*;

    fn at(depth: u32) -> TrustedCgroup {
        TrustedCgroup {
            depth,
            ..TrustedCgroup::default()
        }
    }

    fn tried(depths: Depths) -> Vec<u32> {
        let tried = RefCell::new(vec![]);
        let found = depths.any(|depth| {
            tried.borrow_mut().push(depth);
            false
        });
        assert!(!found);
        tried.into_inner()
    }

    #[test]
    fn only_the_depths_of_trusted_cgroups_are_tried() {
        assert!(tried(Depths::of([])).is_empty());
        assert_eq!(tried(Depths::of([at(2), at(1), at(2)])), [1, 2]);
        assert_eq!(tried(Depths::of([at(DEEPEST)])), [DEEPEST]);
        // Where one is not known it may be any, but not the root's.
        let all: Vec<u32> = (1..=DEEPEST).collect();
        assert_eq!(tried(Depths::of([at(2), at(UNKNOWN_DEPTH)])), all);
        assert_eq!(tried(Depths(u32::MAX)).len(), all.len() + 1);
    }

    #[test]
    fn the_first_trusted_ancestor_ends_the_search() {
        let depths = Depths::of([at(1), at(3)]);
        assert!(depths.any(|depth| depth == 3));
        assert!(!depths.any(|depth| depth == 2));
    }

    #[test]
    fn a_uid_counts_only_where_it_matters() {
        let mut cgroup_entry = TrustedCgroup {
            uids: [0, 102, 102, 102],
            ..TrustedCgroup::default()
        };
        assert!(cgroup_entry.trusts(|| 0) && cgroup_entry.trusts(|| 102));
        assert!(!cgroup_entry.trusts(|| 1_500));
        cgroup_entry.any_uid = 1;
        assert!(cgroup_entry.trusts(|| unreachable!("it does not matter")));
    }
}
