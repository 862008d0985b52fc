//! `ntpguard allowlist`: what it changes holds from the next packet on.

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    process::Output,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use ntpguard_common::tables::Role;
use ntpguard_tests::{
    bpftool,
    dns::DnsServer,
    guard::{Guard, Home},
    lab::Lab,
    wait::eventually,
};
use serde_json::{Value, json};

const ADDRESS: &str = "192.0.2.1";
const OTHER: &str = "192.0.2.2";
const V6: &str = "2001:db8::1";

/// A guard with a source that names nobody, so that nothing of this machine is read.
fn empty_source(lab: &Lab) -> Result<std::path::PathBuf> {
    lab.write("ntp.conf", "# nobody\n")
}

fn guarded(lab: &Lab) -> Result<Guard> {
    lab.guard().source(&empty_source(lab)?).ready()
}

/// A lab whose guard was killed: the pins are left, and nobody looks after them.
fn orphaned(lab: &Lab) -> Result<Arc<Home>> {
    let mut guard = guarded(lab)?;
    guard.kill9()?;
    Ok(Arc::clone(guard.home()))
}

fn ok(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// What a command that must fail says, after a look at its exit code.
fn refusal(output: &Output, code: i32) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(code), "{output:?}");
    ensure!(!said.is_empty(), "it does not say why");
    Ok(said)
}

fn prefixes(listing: &Value) -> Vec<String> {
    let rows = listing["rows"].as_array().cloned().unwrap_or_default();
    let prefix = |row: &Value| row["prefix"].as_str().map(str::to_owned);
    rows.iter().filter_map(prefix).collect()
}

fn listed(lab: &Lab, home: &Home) -> Result<Vec<String>> {
    Ok(prefixes(&lab.json(home, &["allowlist", "list", "--json"])?))
}

fn rows(lab: &Lab, home: &Home) -> Result<Value> {
    Ok(lab.json(home, &["allowlist", "list", "--json"])?["rows"].clone())
}

fn entries(home: &Home) -> Result<usize> {
    Ok(bpftool::map_dump(&home.pin_dir().join("maps/ALLOW_V4"))?.len())
}

/// Dropped, added, admitted, removed, dropped: each on the very next packet.
fn each_edit_holds_on_the_next_packet(lab: &Lab, home: &Home) -> Result<()> {
    for address in [ADDRESS, V6] {
        lab.drops(home, address, Role::Server)?;
        ok(&lab.cli(home, &["allowlist", "add", address])?)?;
        lab.admits(home, address, Role::Server)?;
        ok(&lab.cli(home, &["allowlist", "remove", address])?)?;
        lab.drops(home, address, Role::Server)?;
    }
    // A prefix is another table, and the first and last of them switch its look-up on and off.
    for (prefix, address) in [
        ("198.51.100.0/24", "198.51.100.7"),
        ("2001:db8:1::/48", "2001:db8:1::7"),
    ] {
        lab.drops(home, address, Role::Client)?;
        ok(&lab.cli(home, &["allowlist", "add", prefix, "--role", "client"])?)?;
        lab.admits(home, address, Role::Client)?;
        ok(&lab.cli(home, &["allowlist", "remove", prefix])?)?;
        lab.drops(home, address, Role::Client)?;
    }
    Ok(())
}

#[test]
fn edits_hold_from_the_next_packet_while_the_daemon_runs() -> Result<()> {
    let lab = Lab::new()?;
    lab.arrives_unguarded(ADDRESS, Role::Server)?;
    let guard = guarded(&lab)?;
    each_edit_holds_on_the_next_packet(&lab, guard.home())
}

#[test]
fn edits_hold_from_the_next_packet_after_the_daemon_was_killed() -> Result<()> {
    let lab = Lab::new()?;
    let home = orphaned(&lab)?;
    each_edit_holds_on_the_next_packet(&lab, &home)
}

#[test]
fn edits_hold_from_the_next_packet_over_what_persist_left() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = lab
        .guard()
        .source(&empty_source(&lab)?)
        .args(["--persist"])
        .ready()?;
    ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    each_edit_holds_on_the_next_packet(&lab, guard.home())
}

#[test]
fn edits_with_nothing_loaded_are_kept_for_the_next_run() -> Result<()> {
    let lab = Lab::new()?;
    let home = Home::new()?;
    let added = lab.json(
        &home,
        &["allowlist", "add", ADDRESS, "--comment", "early", "--json"],
    )?;
    ensure!(
        added["changed"] == true && added["in_kernel"] == false,
        "{added}"
    );
    ok(&lab.cli(&home, &["allowlist", "add", OTHER])?)?;
    let removed = lab.json(&home, &["allowlist", "remove", OTHER, "--json"])?;
    ensure!(removed["in_kernel"] == false, "{removed}");
    let said = lab.cli(&home, &["allowlist", "add", "192.0.2.3"])?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.contains("nothing is loaded"), "{said}");
    ensure!(
        listed(&lab, &home)? == ["192.0.2.1/32", "192.0.2.3/32"],
        "{:?}",
        listed(&lab, &home)?
    );
    let _guard = lab
        .guard()
        .home(&home)
        .source(&empty_source(&lab)?)
        .ready()?;
    lab.admits(&home, ADDRESS, Role::Server)?;
    lab.admits(&home, "192.0.2.3", Role::Server)?;
    lab.drops(&home, OTHER, Role::Server)
}

/// `update` re-reads a source and asks for every name; both hold on the next packet.
fn an_update_holds_on_the_next_packet(
    lab: &Lab,
    home: &Home,
    dns: &DnsServer,
    source: &Path,
) -> Result<()> {
    lab.admits(home, ADDRESS, Role::Server)?;
    lab.drops(home, "192.0.2.10", Role::Server)?;
    lab.drops(home, "192.0.2.11", Role::Server)?;
    fs::write(source, "server 192.0.2.10\nserver time.test\n")?;
    dns.set_fixed("time.test", &["192.0.2.11".parse()?]);
    let updated = lab.json(home, &["allowlist", "update", "--json"])?;
    lab.admits(home, "192.0.2.10", Role::Server)?;
    lab.admits(home, "192.0.2.11", Role::Server)?;
    // DNS's answers are added to each other, a file's lines are not.
    lab.admits(home, OTHER, Role::Server)?;
    lab.drops(home, ADDRESS, Role::Server)?;
    ensure!(
        updated["schema"] == 1 && updated["in_kernel"] == true,
        "{updated}"
    );
    // A daemon may have noticed the changed file by itself, just before it was told.
    let granted: Vec<&Value> = ["added", "kept"]
        .iter()
        .flat_map(|key| updated[key].as_array().into_iter().flatten())
        .collect();
    ensure!(
        granted.len() == 3 && granted.contains(&&json!("192.0.2.10/32")),
        "{updated}"
    );
    let added = updated["added"].as_array().context("no list")?;
    ensure!(added.contains(&json!("192.0.2.11/32")), "{updated}");
    ensure!(updated["failed"] == json!({}), "{updated}");
    Ok(())
}

fn named(lab: &Lab) -> Result<(DnsServer, std::path::PathBuf, Guard)> {
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    dns.set_fixed("time.test", &[OTHER.parse()?]);
    let source = lab.write("ntp.conf", &format!("server {ADDRESS}\nserver time.test\n"))?;
    let guard = lab
        .guard()
        .source(&source)
        .resolver(dns.address())
        .ready()?;
    Ok((dns, source, guard))
}

#[test]
fn an_update_holds_from_the_next_packet_while_the_daemon_runs() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, source, guard) = named(&lab)?;
    an_update_holds_on_the_next_packet(&lab, guard.home(), &dns, &source)
}

#[test]
fn an_update_holds_from_the_next_packet_after_the_daemon_was_killed() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, source, mut guard) = named(&lab)?;
    guard.kill9()?;
    an_update_holds_on_the_next_packet(&lab, guard.home(), &dns, &source)?;
    let again = guard.json(&["allowlist", "update", "--json"])?;
    ensure!(
        again["kept"] == json!(["192.0.2.2/32", "192.0.2.10/32", "192.0.2.11/32"]),
        "{again}"
    );
    ensure!(
        again["added"] == json!([]) && again["removed"] == json!([]),
        "{again}"
    );
    fs::write(&source, "server time.test\nserver 192.0.2.12\n")?;
    let again = guard.json(&["allowlist", "update", "--json"])?;
    ensure!(again["added"] == json!(["192.0.2.12/32"]), "{again}");
    ensure!(again["removed"] == json!(["192.0.2.10/32"]), "{again}");
    Ok(())
}

#[test]
fn an_update_that_cannot_resolve_a_name_says_so_and_exits_1() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, _source, mut guard) = named(&lab)?;
    dns.set("time.test", ntpguard_tests::dns::Behaviour::ServFail);
    for with_daemon in [true, false] {
        if !with_daemon {
            guard.kill9()?;
        }
        let output = guard.cli(&["allowlist", "update", "--json"])?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        let updated: Value = serde_json::from_slice(&output.stdout)?;
        let why = updated["failed"]["time.test"]
            .as_str()
            .context("no reason")?;
        ensure!(why.contains(&dns.address().to_string()), "{why}");
        lab.admits(guard.home(), OTHER, Role::Server)?;
    }
    Ok(())
}

fn admitted_for(lab: &Lab, home: &Home, ttl: Duration, since: Instant) -> Result<()> {
    lab.admits(home, ADDRESS, Role::Server)?;
    lab.admits(home, "198.51.100.7", Role::Server)?;
    ensure!(
        since.elapsed() < ttl,
        "this machine is too slow for this test"
    );
    eventually(Duration::from_secs(10), "the end of a grant", || {
        lab.drops(home, ADDRESS, Role::Server)?;
        lab.drops(home, "198.51.100.7", Role::Server)
    })?;
    // Boot time is counted in whole seconds.
    ensure!(
        since.elapsed() + Duration::from_secs(1) >= ttl,
        "ended after {:?}",
        since.elapsed()
    );
    Ok(())
}

#[test]
fn a_ttl_ends_in_the_kernel_without_a_daemons_help() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let ttl = Duration::from_secs(6);
    let since = Instant::now();
    ok(&guard.cli(&["allowlist", "add", ADDRESS, "--ttl", "6s"])?)?;
    ok(&guard.cli(&["allowlist", "add", "198.51.100.0/24", "--ttl", "6s"])?)?;
    guard.kill9()?;
    admitted_for(&lab, guard.home(), ttl, since)?;
    // The next start does not bring it back.
    let _next = lab
        .guard()
        .home(guard.home())
        .source(&empty_source(&lab)?)
        .ready()?;
    lab.drops(guard.home(), ADDRESS, Role::Server)?;
    ensure!(listed(&lab, guard.home())?.is_empty(), "it is still listed");
    Ok(())
}

#[test]
fn a_ttl_ends_while_the_daemon_runs_and_is_taken_off_the_list() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    let ttl = Duration::from_secs(6);
    let since = Instant::now();
    ok(&guard.cli(&["allowlist", "add", ADDRESS, "--ttl", "6s"])?)?;
    ok(&guard.cli(&["allowlist", "add", "198.51.100.0/24", "--ttl", "6s"])?)?;
    let ends = rows(&lab, guard.home())?[0]["ends_in"].as_u64();
    ensure!(ends.is_some_and(|left| left <= 6), "ends in {ends:?}");
    admitted_for(&lab, guard.home(), ttl, since)?;
    eventually(
        Duration::from_secs(3),
        "an empty list and an empty table",
        || {
            ensure!(listed(&lab, guard.home())?.is_empty(), "it is still listed");
            ensure!(entries(guard.home())? == 0, "it is still in the table");
            Ok(())
        },
    )
}

#[test]
fn a_ttl_goes_on_over_a_restart_and_a_new_one_replaces_it() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    ok(&guard.cli(&["allowlist", "add", ADDRESS, "--ttl", "1h"])?)?;
    ok(&guard.cli(&["allowlist", "add", OTHER, "--ttl", "1h"])?)?;
    ok(&guard.cli(&["allowlist", "add", OTHER])?)?;
    guard.kill9()?;
    let guard = lab
        .guard()
        .home(guard.home())
        .source(&empty_source(&lab)?)
        .ready()?;
    let rows = rows(&lab, guard.home())?;
    let left = rows[0]["ends_in"].as_u64().context("no end")?;
    ensure!((3_500..=3_600).contains(&left), "{rows}");
    ensure!(rows[1]["ends_in"].is_null(), "{rows}");
    Ok(())
}

#[test]
fn json_has_its_schema_and_its_fields() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    for with_daemon in [true, false] {
        if !with_daemon {
            guard.kill9()?;
        }
        let line = [
            "allowlist",
            "add",
            "198.51.100.0/24",
            "--role",
            "client",
            "--role",
            "control",
            "--ttl",
            "2h",
            "--comment",
            "the lab",
            "--json",
        ];
        let added = guard.json(&line)?;
        ensure!(
            added
                == json!({"schema": 1, "prefix": "198.51.100.0/24", "roles": ["client", "control"],
                            "changed": true, "in_kernel": true}),
            "{added}"
        );
        let listing = guard.json(&["allowlist", "list", "--json"])?;
        ensure!(listing["schema"] == 1, "{listing}");
        let mut row = listing["rows"][0].clone();
        let left = row["ends_in"].take();
        ensure!(
            left.as_u64()
                .is_some_and(|left| (7_100..=7_200).contains(&left)),
            "{left}"
        );
        ensure!(
            row == json!({"prefix": "198.51.100.0/24", "role": "client", "origins": ["manual"],
                          "names": [], "places": [], "ends_in": null, "comments": ["the lab"]}),
            "{row}"
        );
        ensure!(listing["rows"][1]["role"] == "control", "{listing}");
        let removed = guard.json(&[
            "allowlist",
            "remove",
            "198.51.100.0/24",
            "--role",
            "control",
            "--json",
        ])?;
        ensure!(
            removed
                == json!({"schema": 1, "prefix": "198.51.100.0/24", "roles": ["control"],
                              "changed": true, "in_kernel": true}),
            "{removed}"
        );
        let listing = guard.json(&["allowlist", "list", "--json"])?;
        ensure!(
            listing["rows"].as_array().map(Vec::len) == Some(1),
            "{listing}"
        );
        ok(&guard.cli(&["allowlist", "remove", "198.51.100.0/24"])?)?;
    }
    Ok(())
}

#[test]
fn removing_what_was_not_granted_by_hand_fails_and_says_who_did() -> Result<()> {
    let lab = Lab::new()?;
    let (_dns, source, mut guard) = named(&lab)?;
    for with_daemon in [true, false] {
        if !with_daemon {
            guard.kill9()?;
        }
        let said = refusal(&guard.cli(&["allowlist", "remove", ADDRESS])?, 1)?;
        let place = format!("{}:1", source.display());
        ensure!(
            said.contains("not granted by hand") && said.contains(&place),
            "{said}"
        );
        ensure!(
            said.contains("--role none"),
            "it does not say what to do: {said}"
        );
        let said = refusal(&guard.cli(&["allowlist", "remove", OTHER])?, 1)?;
        ensure!(said.contains("time.test"), "{said}");
        let said = refusal(&guard.cli(&["allowlist", "remove", "203.0.113.1"])?, 1)?;
        ensure!(
            said.contains("203.0.113.1") && said.contains("not in the allowlist"),
            "{said}"
        );
        lab.admits(guard.home(), ADDRESS, Role::Server)?;
        lab.admits(guard.home(), OTHER, Role::Server)?;
    }
    Ok(())
}

#[test]
fn wrong_usage_exits_2_and_changes_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    ok(&guard.cli(&["allowlist", "add", ADDRESS])?)?;
    let before = rows(&lab, guard.home())?;
    let wrong: &[(&[&str], &str)] = &[
        (&["allowlist", "add", "pool.ntp.org"], "192.0.2.1"),
        (&["allowlist", "add", "192.0.2.1/24"], "192.0.2.0/24"),
        (&["allowlist", "add", "192.0.2.0/33"], "expected"),
        (&["allowlist", "add", OTHER, "--role", "king"], "king"),
        (&["allowlist", "add", OTHER, "--ttl", "0s"], "second"),
        (&["allowlist", "add", OTHER, "--ttl", "soon"], "soon"),
        (&["allowlist", "add"], "ADDR"),
        (&["allowlist", "remove"], "ADDR"),
        (&["allowlist", "forget", OTHER], "forget"),
        (&["allowlist"], "add"),
    ];
    for (line, hint) in wrong {
        let said = refusal(&guard.cli(line)?, 2)?;
        ensure!(said.contains(hint), "{line:?}: {said}");
    }
    ensure!(rows(&lab, guard.home())? == before, "the list changed");
    Ok(())
}

#[test]
fn a_denial_beside_a_grant_in_one_command_is_refused() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    let line = [
        "allowlist",
        "add",
        ADDRESS,
        "--role",
        "none",
        "--role",
        "client",
    ];
    let output = guard.cli(&line)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && said.contains("none"),
        "{output:?}"
    );
    ensure!(
        listed(&lab, guard.home())?.is_empty(),
        "it was granted all the same"
    );
    Ok(())
}

#[test]
fn a_full_table_refuses_the_addition_and_evicts_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = lab
        .guard()
        .source(&empty_source(&lab)?)
        .args(["--table-size", "4"])
        .ready()?;
    let home = Arc::clone(guard.home());
    for last in 1..=4 {
        ok(&guard.cli(&[
            "allowlist",
            "add",
            &format!("192.0.2.{last}"),
            "--comment",
            "in time",
        ])?)?;
    }
    let state = home.state_dir().join("state.json");
    let kept = |file: &str| -> Result<Value> {
        let state: Value = serde_json::from_str(file)?;
        Ok(state["rows"].clone())
    };
    for with_daemon in [true, false] {
        if !with_daemon {
            guard.kill9()?;
        }
        let (list, file) = (rows(&lab, &home)?, fs::read_to_string(&state)?);
        let said = refusal(&lab.cli(&home, &["allowlist", "add", "192.0.2.5"])?, 1)?;
        ensure!(
            said.contains("full") && said.contains("--table-size"),
            "{said}"
        );
        ensure!(rows(&lab, &home)? == list, "the list changed");
        ensure!(
            kept(&fs::read_to_string(&state)?)? == kept(&file)?,
            "the state file changed"
        );
        ensure!(entries(&home)? == 4, "{} entries", entries(&home)?);
        for last in 1..=4 {
            lab.admits(&home, &format!("192.0.2.{last}"), Role::Server)?;
        }
        lab.drops(&home, "192.0.2.5", Role::Server)?;
        // A role more for an address that is there needs no room.
        ok(&lab.cli(
            &home,
            &["allowlist", "add", "192.0.2.4", "--role", "client"],
        )?)?;
        ok(&lab.cli(
            &home,
            &["allowlist", "remove", "192.0.2.4", "--role", "client"],
        )?)?;
    }
    // Whoever makes room has it.
    ok(&lab.cli(&home, &["allowlist", "remove", "192.0.2.1"])?)?;
    ok(&lab.cli(&home, &["allowlist", "add", "192.0.2.5"])?)?;
    lab.admits(&home, "192.0.2.5", Role::Server)
}

#[test]
fn comments_are_kept_across_restarts() -> Result<()> {
    let lab = Lab::new()?;
    let mut guard = guarded(&lab)?;
    let home = Arc::clone(guard.home());
    let comment = "Zürich's \"spare\"\n#2";
    ok(&guard.cli(&["allowlist", "add", ADDRESS, "--comment", comment])?)?;
    ok(&guard.cli(&["allowlist", "add", OTHER, "--comment", "before"])?)?;
    ok(&guard.cli(&["allowlist", "add", OTHER, "--comment", "after"])?)?;
    let before = rows(&lab, &home)?;
    ensure!(before[0]["comments"] == json!([comment]), "{before}");
    ensure!(before[1]["comments"] == json!(["after"]), "{before}");
    ensure!(guard.terminate()?.success(), "{}", guard.stderr());
    ensure!(
        rows(&lab, &home)? == before,
        "changed by the end of the daemon"
    );
    let mut guard = lab
        .guard()
        .home(&home)
        .source(&empty_source(&lab)?)
        .ready()?;
    ensure!(rows(&lab, &home)? == before, "changed by a restart");
    guard.kill9()?;
    ok(&lab.cli(&home, &["allowlist", "add", "192.0.2.3"])?)?;
    let _guard = lab
        .guard()
        .home(&home)
        .source(&empty_source(&lab)?)
        .ready()?;
    let after = rows(&lab, &home)?;
    ensure!(after[0] == before[0] && after[1] == before[1], "{after}");
    Ok(())
}

#[test]
fn adding_the_same_again_changes_nothing_and_succeeds() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    for changed in [true, false, false] {
        let added = guard.json(&["allowlist", "add", ADDRESS, "--json"])?;
        ensure!(added["changed"] == changed, "{added}");
    }
    Ok(())
}

/// Twenty commands at once, each about another address.
fn twenty_at_once(lab: &Lab, home: &Home) -> Result<()> {
    let address = |number: u8| Ipv4Addr::new(192, 0, 2, number).to_string();
    let all = || -> Result<()> {
        let outputs: Vec<Result<Output>> = thread::scope(|scope| {
            let running: Vec<_> = (1..=20)
                .map(|number| {
                    scope.spawn(move || lab.cli(home, &["allowlist", "add", &address(number)]))
                })
                .collect();
            running
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| bail!("a command's thread panicked"))
                })
                .collect()
        });
        outputs.into_iter().try_for_each(|output| ok(&output?))
    };
    all()?;
    let listed = listed(lab, home)?;
    ensure!(listed.len() == 20, "{listed:?}");
    if home.pin_dir().join("maps").exists() {
        ensure!(entries(home)? == 20, "{} in the table", entries(home)?);
        lab.admits(home, &address(1), Role::Server)?;
        lab.admits(home, &address(20), Role::Server)?;
    }
    let file: Value =
        serde_json::from_str(&fs::read_to_string(home.state_dir().join("state.json"))?)?;
    ensure!(file["rows"].as_array().map(Vec::len) == Some(20), "{file}");
    Ok(())
}

#[test]
fn of_twenty_additions_at_once_none_is_lost_while_the_daemon_runs() -> Result<()> {
    let lab = Lab::new()?;
    let guard = guarded(&lab)?;
    twenty_at_once(&lab, guard.home())
}

#[test]
fn of_twenty_additions_at_once_none_is_lost_after_the_daemon_was_killed() -> Result<()> {
    let lab = Lab::new()?;
    let home = orphaned(&lab)?;
    twenty_at_once(&lab, &home)
}

#[test]
fn of_twenty_additions_at_once_none_is_lost_with_nothing_loaded() -> Result<()> {
    let lab = Lab::new()?;
    let home = Home::new()?;
    twenty_at_once(&lab, &home)
}

#[test]
fn a_command_while_the_daemon_starts_is_not_lost() -> Result<()> {
    let lab = Lab::new()?;
    let home = Home::new()?;
    let source = empty_source(&lab)?;
    // Whether the command or the daemon takes the lock first, both come to see the addition.
    for number in 1..=8_u8 {
        let mut guard = lab.guard().home(&home).source(&source).start()?;
        thread::sleep(Duration::from_millis(u64::from(number) * 15));
        let address = Ipv4Addr::new(192, 0, 2, number).to_string();
        ok(&lab.cli(&home, &["allowlist", "add", &address])?)?;
        guard.wait_ready()?;
        lab.admits(&home, &address, Role::Server)?;
        ensure!(
            listed(&lab, &home)?.len() == usize::from(number),
            "one was lost"
        );
        guard.kill9()?;
    }
    Ok(())
}
