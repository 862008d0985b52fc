//! The control socket, and who misuses it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ntpguard_tests::{
    guard::{Guard, Home},
    lab::Lab,
    wait::eventually,
};

use super::{KNOWN, line, status, unhurt};

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
fn very_many_that_stall_in_a_question_hold_up_nobody() -> Result<()> {
    let lab = Lab::new()?;
    let guard = quiet(&lab)?;
    let mut stalled = Vec::new();
    for _ in 0..600 {
        let mut stream = connect(guard.home())?;
        // It may be hung up on: others come.
        drop(stream.write_all(b"{\"ask\":"));
        stalled.push(stream);
    }
    let began = Instant::now();
    unhurt(&lab, &guard)?;
    ensure!(
        began.elapsed() < Duration::from_secs(5),
        "held up for {:?}",
        began.elapsed()
    );
    // The first had to go for the last.
    let mut byte = [0];
    let first = &mut stalled[0];
    ensure!(!matches!(first.read(&mut byte), Ok(1..)), "still heard");
    let last = stalled.last_mut().context("none")?;
    last.write_all(b"\"list\"}\n")?;
    last.read_exact(&mut byte)?;
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
    // Fewer descriptors than a test may have itself; the guard holds some ninety, of its maps mostly.
    let limit = [
        "prlimit",
        "--pid",
        &guard.id().to_string(),
        "--nofile=128:128",
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
