//! A slowdown of the kernel programs shows in their sizes, on any machine and however busy it is.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use ntpguard_tests::sizes::{self, Sizes};

/// Percent that other compilers and kernels may make of the same source.
const SLACK: u32 = 15;

const RECORD_ANEW: &str = "if it is worth that, record it: cargo xtask bench --record sizes";

#[test]
fn programs_have_not_grown() -> Result<()> {
    let (now, recorded) = (sizes::measure()?, sizes::recorded()?);
    let names = |sizes: &Sizes| sizes.keys().cloned().collect::<BTreeSet<_>>();
    ensure!(
        names(&now) == names(&recorded),
        "the programs are {:?}, recorded are {:?}; {RECORD_ANEW}",
        names(&now),
        names(&recorded)
    );
    for (name, size) in &now {
        let excess = size.excess(&recorded[name], SLACK);
        ensure!(excess.is_empty(), "{name}: {excess:?}; {RECORD_ANEW}");
    }
    Ok(())
}
