//! What goes wrong around a guard does not hurt what it knows.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::IpAddr,
    os::unix::{
        fs::symlink,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{sys::stat::Mode, unistd::mkfifo};
use ntpguard_common::tables::Role;
use ntpguard_tests::{
    dns::{Behaviour, DnsServer},
    guard::{Guard, Home},
    lab::Lab,
    wait::eventually,
};
use serde_json::{Value, json};

const KNOWN: &str = "192.0.2.1";
const NEW: &str = "192.0.2.2";
const STRANGER: &str = "203.0.113.9";

/// How soon a good change of a file has to be in the kernel.
const CHANGE_LIMIT: Duration = Duration::from_secs(3);

/// Bytes that no guard in these tests may ever have had in memory, built for debugging.
const MEMORY_LIMIT: u64 = 60 << 20;

fn status(guard: &Guard) -> Result<Value> {
    guard.json(&["status", "--json"])
}

fn no_more_memory_than_allowed(guard: &Guard) -> Result<()> {
    let (now, most) = guard.resident()?;
    ensure!(
        most < MEMORY_LIMIT,
        "{most} bytes resident at most, {now} now"
    );
    Ok(())
}

/// It still knows whom it knew, still drops the others, and still answers.
fn unhurt(lab: &Lab, guard: &Guard) -> Result<()> {
    lab.admits(guard.home(), KNOWN, Role::Server)?;
    lab.drops(guard.home(), STRANGER, Role::Server)?;
    let status = status(guard)?;
    ensure!(
        status["daemon"]["pid"] == guard.id() && status["guarding"] == true,
        "{status}"
    );
    no_more_memory_than_allowed(guard)
}

/// Notes are no problems: they tell what was left out on purpose.
fn no_problems(guard: &Guard) -> Result<()> {
    let problems = status(guard)?["problems"].clone();
    let mut all = problems.as_array().into_iter().flatten();
    ensure!(
        all.all(|problem| problem["severity"] == "note"),
        "{problems}"
    );
    Ok(())
}

// Names.

/// A guard of a host whose only server is a name, which is known to be `KNOWN`.
fn with_name(lab: &Lab) -> Result<(DnsServer, Guard)> {
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    dns.set_fixed("time.test", &[KNOWN.parse()?]);
    let source = lab.write("ntp.conf", "server time.test\n")?;
    let guard = lab
        .guard()
        .source(&source)
        .resolver(dns.address())
        .ready()?;
    lab.admits(guard.home(), KNOWN, Role::Server)?;
    Ok((dns, guard))
}

fn update(guard: &Guard) -> Result<()> {
    let output = guard.cli(&["allowlist", "update"])?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn a_failure_hurts_nothing(behaviour: Behaviour, hint: &str) -> Result<()> {
    let lab = Lab::new()?;
    let (dns, guard) = with_name(&lab)?;
    dns.set("time.test", behaviour);
    let update = guard.cli(&["allowlist", "update"])?;
    ensure!(update.status.code() == Some(1), "{update:?}");
    unhurt(&lab, &guard)?;
    let told = status(&guard)?;
    let name = &told["names"][0];
    let error = name["error"]
        .as_str()
        .with_context(|| format!("no error in {told}"))?;
    ensure!(error.to_lowercase().contains(hint), "{error}");
    ensure!(
        name["name"] == "time.test" && name["addresses"] == 1,
        "{told}"
    );
    ensure!(
        name["failing_for"]
            .as_u64()
            .is_some_and(|seconds| seconds < 60),
        "{told}"
    );
    // It is asked again by itself before long.
    dns.set_fixed("time.test", &[NEW.parse()?]);
    eventually(Duration::from_secs(10), "a retry", || {
        lab.admits(guard.home(), NEW, Role::Server)
    })?;
    lab.admits(guard.home(), KNOWN, Role::Server)?;
    let told = status(&guard)?;
    ensure!(told["names"][0]["error"].is_null(), "{told}");
    ensure!(told["names"][0]["failing_for"].is_null(), "{told}");
    Ok(())
}

#[test]
fn a_dns_server_that_fails_hurts_nothing() -> Result<()> {
    a_failure_hurts_nothing(Behaviour::ServFail, "fail")
}

#[test]
fn a_dns_server_that_knows_no_such_name_hurts_nothing() -> Result<()> {
    a_failure_hurts_nothing(Behaviour::NxDomain, "no such name")
}

#[test]
fn a_dns_server_that_sends_garbage_hurts_nothing() -> Result<()> {
    a_failure_hurts_nothing(Behaviour::Garbage, "")
}

#[test]
fn a_dns_server_that_is_silent_hurts_nothing() -> Result<()> {
    a_failure_hurts_nothing(Behaviour::Silent, "")
}

#[test]
fn a_loop_of_aliases_hurts_nothing() -> Result<()> {
    a_failure_hurts_nothing(Behaviour::Cname("time.test".into()), "")
}

#[test]
fn an_answer_of_none_but_impossible_addresses_hurts_nothing() -> Result<()> {
    let addresses = ["127.0.0.1", "224.0.1.1", "255.255.255.255", "::1"];
    let addresses: Vec<IpAddr> = addresses
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    a_failure_hurts_nothing(Behaviour::Fixed { addresses, ttl: 60 }, "127.0.0.1")
}

#[test]
fn a_start_while_dns_fails_guards_and_recovers() -> Result<()> {
    let lab = Lab::new()?;
    let dns = DnsServer::start(&lab.outside.namespace, lab.outside.v4.into())?;
    dns.set("time.test", Behaviour::ServFail);
    let source = lab.write("ntp.conf", "server time.test\n")?;
    let guard = lab
        .guard()
        .source(&source)
        .resolver(dns.address())
        .ready()?;
    lab.drops(guard.home(), KNOWN, Role::Server)?;
    dns.set_fixed("time.test", &[KNOWN.parse()?]);
    eventually(Duration::from_secs(10), "a retry", || {
        lab.admits(guard.home(), KNOWN, Role::Server)
    })?;
    unhurt(&lab, &guard)
}

#[test]
fn impossible_addresses_among_good_ones_are_refused_and_told() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, guard) = with_name(&lab)?;
    let impossible = [
        "0.0.0.0",
        "127.0.0.1",
        "224.0.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "ff02::101",
        "::ffff:192.0.2.77",
    ];
    let mut answer = vec![NEW.parse()?];
    for address in impossible {
        answer.push(address.parse()?);
    }
    dns.set_fixed("time.test", &answer);
    let updated = guard.json(&["allowlist", "update", "--json"])?;
    ensure!(updated["added"] == json!(["192.0.2.2/32"]), "{updated}");
    unhurt(&lab, &guard)?;
    lab.admits(guard.home(), NEW, Role::Server)?;
    for address in ["127.0.0.1", "192.0.2.77"] {
        let listing = guard.json(&["allowlist", "list", "--json"])?.to_string();
        ensure!(!listing.contains(address), "{listing}");
    }
    let told = status(&guard)?;
    let refused = told["names"][0]["refused"].to_string();
    ensure!(
        refused.contains("127.0.0.1 (loopback)") && refused.contains("multicast"),
        "{refused}"
    );
    Ok(())
}

#[test]
fn thousands_of_addresses_are_cut_to_a_names_share() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, guard) = with_name(&lab)?;
    dns.set("time.test", Behaviour::Many(2_000));
    update(&guard)?;
    unhurt(&lab, &guard)?;
    let told = status(&guard)?;
    let name = &told["names"][0];
    let addresses = name["addresses"].as_u64().context("no number")?;
    ensure!((2..=1_024).contains(&addresses), "{name}");
    ensure!(
        name["over_cap"]
            .as_u64()
            .is_some_and(|left_out| left_out > 1_000),
        "{name}"
    );
    lab.admits(guard.home(), "10.0.0.1", Role::Server)
}

#[test]
fn answers_that_go_on_changing_stay_within_a_names_share() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, guard) = with_name(&lab)?;
    for answer in 0..8_u8 {
        let addresses: Vec<IpAddr> = (0..200)
            .map(|last| [198, 18, answer, last].into())
            .collect();
        dns.set_fixed("time.test", &addresses);
        update(&guard)?;
    }
    let told = status(&guard)?;
    ensure!(told["names"][0]["addresses"] == 1_024, "{told}");
    ensure!(told["grants"]["addresses"] == 1_024, "{told}");
    // What DNS named last is in, what it named first has made room.
    lab.admits(guard.home(), "198.18.7.199", Role::Server)?;
    lab.drops(guard.home(), "198.18.0.1", Role::Server)?;
    no_more_memory_than_allowed(&guard)
}

#[test]
fn a_chain_of_aliases_is_followed() -> Result<()> {
    let lab = Lab::new()?;
    let (dns, guard) = with_name(&lab)?;
    dns.set("time.test", Behaviour::Cname("a.test".into()));
    dns.set("a.test", Behaviour::Cname("b.test".into()));
    dns.set("b.test", Behaviour::Cname("c.test".into()));
    dns.set_fixed("c.test", &[NEW.parse()?]);
    update(&guard)?;
    lab.admits(guard.home(), NEW, Role::Server)?;
    unhurt(&lab, &guard)
}

// Files.

/// A guard of a source in a directory of its own, that names `KNOWN`.
struct Watched {
    lab: Lab,
    guard: Guard,
    directory: PathBuf,
    file: PathBuf,
}

impl Watched {
    fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let directory = lab.file("etc");
        fs::create_dir(&directory)?;
        let file = directory.join("ntp.conf");
        fs::write(&file, line(KNOWN))?;
        let guard = lab.guard().source(&file).ready()?;
        lab.admits(guard.home(), KNOWN, Role::Server)?;
        no_problems(&guard)?;
        Ok(Self {
            lab,
            guard,
            directory,
            file,
        })
    }

    /// Waits until `status` names the file, at this line, with these words.
    fn told(&self, line: u32, words: &str) -> Result<()> {
        eventually(CHANGE_LIMIT, "a problem in the status", || {
            let problems = status(&self.guard)?["problems"].clone();
            let named = problems.as_array().into_iter().flatten().any(|problem| {
                problem["place"]["file"].as_str() == self.file.to_str()
                    && problem["place"]["line"] == line
                    && problem["message"]
                        .as_str()
                        .is_some_and(|message| message.contains(words))
            });
            ensure!(named, "{problems}");
            Ok(())
        })
    }

    /// Waits until the new address is in the kernel and no problem is left.
    fn changed_to(&self, new: &str, old: &str) -> Result<()> {
        eventually(CHANGE_LIMIT, "the change in the kernel", || {
            self.lab.admits(self.guard.home(), new, Role::Server)?;
            self.lab.drops(self.guard.home(), old, Role::Server)
        })?;
        no_problems(&self.guard)?;
        no_more_memory_than_allowed(&self.guard)
    }

    /// Something that cannot be read takes the file's place: nothing changes. Then comes a good
    /// file, and counts.
    fn survives(&self, words: &str, spoil: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        fs::remove_file(&self.file)?;
        spoil(&self.file)?;
        self.told(0, words)?;
        unhurt(&self.lab, &self.guard)?;
        if self.file.is_dir() {
            fs::remove_dir_all(&self.file)?;
        } else if self.file.symlink_metadata().is_ok() {
            fs::remove_file(&self.file)?;
        }
        fs::write(&self.file, line(NEW))?;
        self.changed_to(NEW, KNOWN)
    }
}

fn line(address: &str) -> String {
    format!("server {address}\n")
}

#[test]
fn a_file_that_is_removed_keeps_its_grants_until_it_is_back() -> Result<()> {
    Watched::new()?.survives("no such file", |_| Ok(()))
}

#[test]
fn a_file_that_becomes_a_directory_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("not a regular file", |path| Ok(fs::create_dir(path)?))
}

#[test]
fn a_file_that_becomes_a_fifo_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("not a regular file", |path| {
        Ok(mkfifo(path, Mode::S_IRWXU)?)
    })
}

#[test]
fn a_file_that_becomes_a_socket_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("not a regular file", |path| {
        drop(UnixListener::bind(path)?);
        Ok(())
    })
}

#[test]
fn a_file_that_becomes_endless_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("not a regular file", |path| Ok(symlink("/dev/zero", path)?))
}

#[test]
fn a_file_that_becomes_a_link_to_itself_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("", |path| Ok(symlink(path, path)?))
}

#[test]
fn a_file_that_becomes_binary_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("binary", |path| {
        let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
        Ok(fs::write(path, bytes)?)
    })
}

#[test]
fn a_file_of_100_megabytes_keeps_its_grants() -> Result<()> {
    Watched::new()?.survives("1 MiB", |path| {
        let mut file = File::create(path)?;
        let block = "server 203.0.113.9\n".repeat(55_000);
        for _ in 0..100 {
            file.write_all(block.as_bytes())?;
        }
        Ok(())
    })
}

#[test]
fn a_start_without_a_readable_file_guards_and_reads_it_when_it_comes() -> Result<()> {
    let lab = Lab::new()?;
    let file = lab.file("ntp.conf");
    let dialect = format!("ntp.conf:{}", file.display());
    let guard = lab.guard().args(["--source", &dialect]).ready()?;
    lab.drops(guard.home(), KNOWN, Role::Server)?;
    let problems = status(&guard)?["problems"].to_string();
    ensure!(problems.contains("no such file"), "{problems}");
    fs::write(&file, line(KNOWN))?;
    eventually(CHANGE_LIMIT, "the file in the kernel", || {
        lab.admits(guard.home(), KNOWN, Role::Server)
    })?;
    unhurt(&lab, &guard)
}

#[test]
fn an_empty_file_is_a_good_file_that_names_nobody() -> Result<()> {
    let watched = Watched::new()?;
    fs::write(&watched.file, "")?;
    eventually(CHANGE_LIMIT, "the change in the kernel", || {
        watched.lab.drops(watched.guard.home(), KNOWN, Role::Server)
    })?;
    fs::write(&watched.file, line(NEW))?;
    watched.changed_to(NEW, KNOWN)
}

#[test]
fn a_half_written_file_counts_as_far_as_it_goes() -> Result<()> {
    let watched = Watched::new()?;
    fs::write(
        &watched.file,
        format!(
            "{}# more\nserver 192.0.2.999\n{}serv",
            line(KNOWN),
            line(NEW)
        ),
    )?;
    watched.told(3, "192.0.2.999")?;
    watched.told(5, "serv")?;
    unhurt(&watched.lab, &watched.guard)?;
    watched
        .lab
        .admits(watched.guard.home(), NEW, Role::Server)?;
    fs::write(&watched.file, line(NEW))?;
    watched.changed_to(NEW, KNOWN)
}

#[test]
fn an_edit_in_place_is_noticed_each_time() -> Result<()> {
    let watched = Watched::new()?;
    for (new, old) in [(NEW, KNOWN), (KNOWN, NEW), (NEW, KNOWN)] {
        fs::write(&watched.file, line(new))?;
        watched.changed_to(new, old)?;
    }
    Ok(())
}

#[test]
fn a_replacement_by_rename_is_noticed_each_time() -> Result<()> {
    let watched = Watched::new()?;
    for (new, old) in [(NEW, KNOWN), (KNOWN, NEW), (NEW, KNOWN)] {
        let temporary = watched.directory.join("new");
        fs::write(&temporary, line(new))?;
        fs::rename(&temporary, &watched.file)?;
        watched.changed_to(new, old)?;
    }
    Ok(())
}

#[test]
fn a_directory_that_is_moved_away_and_back_is_noticed() -> Result<()> {
    let watched = Watched::new()?;
    let aside = watched.lab.file("aside");
    fs::rename(&watched.directory, &aside)?;
    watched.told(0, "no such file")?;
    unhurt(&watched.lab, &watched.guard)?;
    fs::write(aside.join("ntp.conf"), line(NEW))?;
    fs::rename(&aside, &watched.directory)?;
    watched.changed_to(NEW, KNOWN)?;
    fs::write(&watched.file, line(KNOWN))?;
    watched.changed_to(KNOWN, NEW)
}

#[test]
fn a_directory_that_another_replaces_at_once_is_noticed() -> Result<()> {
    let watched = Watched::new()?;
    let next = watched.lab.file("next");
    fs::create_dir(&next)?;
    fs::write(next.join("ntp.conf"), line(NEW))?;
    fs::rename(&watched.directory, watched.lab.file("aside"))?;
    fs::rename(&next, &watched.directory)?;
    watched.changed_to(NEW, KNOWN)?;
    // The new directory is watched now, and not the old.
    fs::write(&watched.file, line(KNOWN))?;
    watched.changed_to(KNOWN, NEW)
}

#[test]
fn a_symlink_that_is_turned_to_another_directory_is_noticed() -> Result<()> {
    let lab = Lab::new()?;
    for (directory, address) in [("v1", KNOWN), ("v2", NEW)] {
        fs::create_dir(lab.file(directory))?;
        fs::write(lab.file(directory).join("ntp.conf"), line(address))?;
    }
    let current = lab.file("current");
    symlink(lab.file("v1"), &current)?;
    let guard = lab.guard().source(&current.join("ntp.conf")).ready()?;
    lab.admits(guard.home(), KNOWN, Role::Server)?;
    symlink(lab.file("v2"), lab.file("turned"))?;
    fs::rename(lab.file("turned"), &current)?;
    eventually(CHANGE_LIMIT, "the change in the kernel", || {
        lab.admits(guard.home(), NEW, Role::Server)?;
        lab.drops(guard.home(), KNOWN, Role::Server)
    })
}

#[test]
fn an_included_file_that_cannot_be_read_keeps_its_own_grants_alone() -> Result<()> {
    let lab = Lab::new()?;
    let included = lab.write("more.conf", &line(KNOWN))?;
    let includes = format!("includefile {}\n", included.display());
    let source = lab.write("ntp.conf", &format!("{includes}{}", line(NEW)))?;
    let guard = lab.guard().source(&source).ready()?;
    lab.admits(guard.home(), NEW, Role::Server)?;
    fs::write(&included, b"server 192.0.2.4\n\0")?;
    fs::write(&source, format!("{includes}{}", line("192.0.2.3")))?;
    eventually(CHANGE_LIMIT, "the change in the kernel", || {
        lab.admits(guard.home(), "192.0.2.3", Role::Server)?;
        lab.drops(guard.home(), NEW, Role::Server)
    })?;
    let problems = status(&guard)?["problems"].to_string();
    ensure!(problems.contains("more.conf"), "{problems}");
    unhurt(&lab, &guard)
}

// The control socket.

fn quiet(lab: &Lab) -> Result<Guard> {
    let source = lab.write("ntp.conf", &line(KNOWN))?;
    lab.guard().source(&source).ready()
}

fn connect(home: &Arc<Home>) -> Result<UnixStream> {
    let stream = UnixStream::connect(home.state_dir().join("control.sock"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}

#[test]
fn garbage_on_the_control_socket_does_not_hurt() -> Result<()> {
    let lab = Lab::new()?;
    let guard = quiet(&lab)?;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let pieces: &[&[u8]] = &[
        &bytes,
        b"\0\0\0\n",
        b"\xff\xfe\n",
        b"{\"ask\":\"add\"}\n",
        b"{\"ask\":",
        b"\n\n\n",
        b"{\"ask\":\"add\",\"prefix\":\"0.0.0.0/0\",\"roles\":[\"king\"]}\n",
    ];
    for piece in pieces {
        // It may hang up in the middle.
        drop(connect(guard.home())?.write_all(piece));
        unhurt(&lab, &guard)?;
    }
    let depth = "[".repeat(60_000) + "\n";
    drop(connect(guard.home())?.write_all(depth.as_bytes()));
    unhurt(&lab, &guard)?;
    let listing = guard.json(&["allowlist", "list", "--json"])?;
    ensure!(
        listing["rows"].as_array().map(Vec::len) == Some(1),
        "{listing}"
    );
    Ok(())
}

#[test]
fn a_question_of_100_megabytes_does_not_fill_the_memory() -> Result<()> {
    let lab = Lab::new()?;
    let guard = quiet(&lab)?;
    let mut stream = connect(guard.home())?;
    let block = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        // It may hang up in the middle.
        if stream.write_all(&block).is_err() {
            break;
        }
    }
    unhurt(&lab, &guard)
}

#[test]
fn questions_after_another_on_one_connection_are_all_answered() -> Result<()> {
    let lab = Lab::new()?;
    let guard = quiet(&lab)?;
    let mut stream = connect(guard.home())?;
    let mut answers = BufReader::new(stream.try_clone()?).lines();
    for question in ["{\"ask\":\"list\"}", "nonsense", "{\"ask\":\"list\"}"] {
        writeln!(stream, "{question}")?;
        let answer = answers.next().context("it hung up")??;
        ensure!(
            answer.contains(if question == "nonsense" {
                "failed"
            } else {
                "rows"
            }),
            "{answer}"
        );
    }
    Ok(())
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody() -> Result<()> {
    let lab = Lab::new()?;
    let guard = quiet(&lab)?;
    let mut stream = connect(guard.home())?;
    stream.set_write_timeout(Some(Duration::from_millis(200)))?;
    // Until its answers fill every buffer on the way and the daemon takes no more questions of it.
    for _ in 0..20_000 {
        if stream.write_all(b"{\"ask\":\"status\"}\n").is_err() {
            break;
        }
    }
    let began = Instant::now();
    unhurt(&lab, &guard)?;
    ensure!(
        began.elapsed() < Duration::from_secs(5),
        "held up for {:?}",
        began.elapsed()
    );
    Ok(())
}

#[test]
fn hundreds_of_connections_at_once_do_not_hurt() -> Result<()> {
    let lab = Lab::new()?;
    let guard = quiet(&lab)?;
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(connect(guard.home())?);
    }
    unhurt(&lab, &guard)?;
    for stream in &mut streams {
        stream.write_all(b"{\"ask\":\"list\"}\n")?;
    }
    for stream in &mut streams {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        ensure!(byte == *b"{", "{byte:?}");
    }
    drop(streams);
    unhurt(&lab, &guard)
}

#[test]
fn more_connections_than_there_are_descriptors_end_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let guard = quiet(&lab)?;
    // Fewer descriptors than a test may have itself.
    let limit = [
        "prlimit",
        "--pid",
        &guard.id().to_string(),
        "--nofile=64:64",
    ]
    .map(str::to_owned);
    lab.inside
        .namespace
        .run(&limit.each_ref().map(String::as_str))?;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(connect(guard.home())?);
    }
    drop(streams);
    eventually(Duration::from_secs(5), "an answer", || {
        status(&guard).map(drop)
    })?;
    unhurt(&lab, &guard)
}
