//! Several datagrams in one buffer of the network stack, as a container or a virtual machine sends them:
//! the first is a client's, and those behind it are not.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use ntpguard_common::{reason::Reason, wire::ntp};
use ntpguard_tests::{
    guard::Guard,
    lab::Lab,
    namespace::Namespace,
    packets::{
        self,
        ntp::{Message, control_request, monlist_request},
    },
    wait::eventually,
};

const SOON: Duration = Duration::from_secs(5);

/// Datagrams in a buffer: a request, two of monlist, a control message.
const MANY: u64 = 4;

/// A client's request, and in the same buffer what only another may send.
fn buffer() -> Vec<u8> {
    let request = Message::request(1).to_vec();
    let monlist = monlist_request();
    [request, monlist.clone(), monlist, control_request()].concat()
}

/// Sends datagrams of this length, the last one of what is left, in one buffer.
fn send(namespace: &Namespace, from: SocketAddr, to: SocketAddr, buffer: &[u8]) -> Result<()> {
    let socket = packets::udp(namespace, from)?;
    setsockopt(&socket, UdpGsoSegment, &i32::try_from(ntp::HEADER_LEN)?)
        .context("cannot have the kernel send several datagrams at once")?;
    socket
        .send_to(buffer, to)
        .with_context(|| format!("cannot send from {from} to {to}"))?;
    Ok(())
}

/// The outer and the inner host's address of each family.
fn routes(lab: &Lab) -> [(SocketAddr, SocketAddr); 2] {
    let (from, to) = (lab.outside.addresses(), lab.inside.addresses());
    [0, 1].map(|family| {
        (
            (from[family], 40_123).into(),
            (to[family], ntp::PORT).into(),
        )
    })
}

/// A host on whose interface nothing but its own programs splits what arrives, and a guard that serves
/// its neighbour.
fn guarded(attach: &str) -> Result<(Lab, Guard)> {
    let lab = Lab::on_a_cable()?;
    for (from, to) in routes(&lab) {
        let before = lab.sink.count();
        send(&lab.outside.namespace, from, to, &buffer())?;
        lab.sink.wait_for(before + MANY, SOON)?;
    }
    let source = lab.write("ntp.conf", "")?;
    let guard = lab.guard().source(&source).args(["--attach", attach]);
    let guard = guard.ready()?;
    for address in lab.outside.addresses() {
        let line = ["allowlist", "add", &address.to_string(), "--role", "client"];
        ensure!(guard.cli(&line)?.status.success(), "{}", guard.stderr());
    }
    Ok((lab, guard))
}

/// Sends a buffer over each family, and gives how many of its datagrams arrived, and what was counted.
fn arrived(lab: &Lab, guard: &Guard, reasons: &[(Reason, u64)]) -> Result<u64> {
    let before = lab.sink.count();
    for (from, to) in routes(lab) {
        send(&lab.outside.namespace, from, to, &buffer())?;
    }
    eventually(SOON, "both buffers' being counted", || {
        let counts = guard.counters()?;
        for reason in Reason::ALL {
            let expected = reasons.iter().find(|(other, _)| other == reason);
            let expected = expected.map_or(0, |(_, count)| 2 * count);
            ensure!(counts.enforced(*reason) == expected, "{reason}: {counts:?}");
        }
        Ok(())
    })?;
    lab.flush()?;
    Ok(lab.sink.count() - before)
}

#[test]
fn on_tc_nothing_of_a_buffer_of_several_datagrams_arrives() -> Result<()> {
    let (lab, guard) = guarded("tc")?;
    let arrived = arrived(&lab, &guard, &[(Reason::Coalesced, 1)])?;
    ensure!(arrived == 0, "{arrived} datagrams arrived");
    let [(from, to), _] = routes(&lab);
    let before = lab.sink.count();
    packets::send(
        &lab.outside.namespace,
        from,
        to,
        &Message::request(1).to_vec(),
    )?;
    lab.sink.wait_for(before + 1, SOON)
}

#[test]
fn natively_each_datagram_of_a_buffer_is_judged() -> Result<()> {
    let (lab, guard) = guarded("native")?;
    let each = [(Reason::Client, 1), (Reason::Private, 2), (Reason::Role, 1)];
    let arrived = arrived(&lab, &guard, &each)?;
    ensure!(
        arrived == 2,
        "{arrived} datagrams arrived, not the requests"
    );
    Ok(())
}

/// What the manual says of it, and `status` does.
#[test]
fn generic_xdp_says_that_it_sees_the_first_alone() -> Result<()> {
    let (lab, guard) = guarded("generic")?;
    let arrived = arrived(&lab, &guard, &[(Reason::Client, 1)])?;
    ensure!(arrived == 2 * MANY, "{arrived} arrived: the gap is gone");
    let status = guard.json(&["status", "--json"])?;
    let unseen = status["interfaces"][0]["blind_to"].as_str();
    ensure!(
        unseen.is_some_and(|text| text.contains("generic XDP sees the first only")),
        "{status}"
    );
    let text = String::from_utf8(guard.cli(&["status"])?.stdout)?;
    ensure!(text.contains("\nunseen"), "{text}");
    ensure!(
        guard.stderr().contains("segmentation offload"),
        "{}",
        guard.stderr()
    );
    Ok(())
}

#[test]
fn a_buffer_of_several_requests_that_leaves_is_noted_for_none() -> Result<()> {
    let lab = Lab::on_a_cable()?;
    let servers = lab.outside.addresses();
    let source = lab.write(
        "ntp.conf",
        &servers.map(|at| format!("server {at}\n")).concat(),
    )?;
    let guard = Guard::builder(&lab.inside.namespace)
        .interface(&lab.inside.port.interface)
        .source(&source)
        .ready()?;
    let granted = || -> Result<u64> {
        let status = guard.json(&["status", "--json"])?;
        let count = status["requests"]["granted"].as_u64();
        count.with_context(|| format!("no requests in {status}"))
    };
    let requests = [1, 2].map(|token| Message::request(token).to_vec());
    for (number, (to, from)) in (1..).zip(routes(&lab)) {
        let from = SocketAddr::new(from.ip(), 40_124);
        let to = SocketAddr::new(to.ip(), ntp::PORT);
        send(&lab.inside.namespace, from, to, &requests.concat())?;
        packets::send(&lab.inside.namespace, from, to, &requests[0])?;
        eventually(SOON, "one request's being noted", || {
            ensure!(granted()? == number, "{}", granted()?);
            Ok(())
        })?;
    }
    Ok(())
}
