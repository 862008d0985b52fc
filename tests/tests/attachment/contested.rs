//! Somebody who takes the guard off again and again, and means it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ntpguard_tests::wait::eventually;

use super::losses::{Asking, REPAIRED_WITHIN, detach, findings, status_text};

/// Three repairs take 65 seconds.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(90);

#[test]
fn after_three_repairs_it_is_left_and_said() -> Result<()> {
    let asking = Asking::new()?;
    let (guard, port) = (&asking.guard, &asking.client.port);
    let repairs = || guard.stderr().matches("repaired: the egress").count();
    detach(guard, port, "egress")?;
    eventually(REPAIRED_WITHIN, "the first repair", || {
        ensure!(repairs() == 1, "{}", guard.stderr());
        Ok(())
    })?;
    // The next is not at once: until then `status` says how it is.
    detach(guard, port, "egress")?;
    let text = status_text(guard)?.replace("\n          ", " ");
    ensure!(
        text.contains("requests NOT tracked") && !text.contains("tracked by tcx"),
        "{text}"
    );
    ensure!(
        text.contains("finding") && text.contains("link detached"),
        "{text}"
    );

    let start = Instant::now();
    while !guard.stderr().contains("not repairing it any more") {
        ensure!(start.elapsed() < GIVEN_UP_WITHIN, "{}", guard.stderr());
        // What is detached cannot be detached again.
        detach(guard, port, "egress").ok();
        thread::sleep(Duration::from_millis(200));
    }
    println!("given up after {:?}", start.elapsed());
    ensure!(repairs() == 3, "{}", guard.stderr());
    let said = findings(guard)?;
    ensure!(
        said.contains("not repaired any more, after three repairs")
            && said.contains("bpftool link"),
        "{said}"
    );
    // It stays so.
    thread::sleep(2 * REPAIRED_WITHIN);
    ensure!(repairs() == 3, "{}", guard.stderr());
    let logged = guard.stderr().matches("not repairing it any more").count();
    ensure!(logged == 1, "{}", guard.stderr());
    ensure!(
        findings(guard)?.contains("not repaired any more"),
        "{}",
        findings(guard)?
    );
    let status = guard.json(&["status", "--json"])?;
    ensure!(status["guarding"] == true, "arrivals are judged: {status}");
    Ok(())
}
