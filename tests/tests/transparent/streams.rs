//! TCP, and DNS over both of its transports.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use ntpguard_tests::{
    daemons::output_with_nameserver,
    dns::{Behaviour, DnsServer},
    namespace::Namespace,
};

use super::{SOON, guarded_in_every_way};

/// Bytes sent each way.
const MEGABYTE: usize = 1 << 20;

/// Sends a megabyte there and has it sent back.
fn transfer(client: &Namespace, server: &Namespace, to: SocketAddr) -> Result<()> {
    let sent: Vec<u8> = (0..MEGABYTE).map(|place| (place % 251) as u8).collect();
    let listener =
        server.enter(|| TcpListener::bind(to).with_context(|| format!("cannot bind {to}")))?;
    let echo = thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(SOON))?;
        let mut received = vec![0; MEGABYTE];
        stream.read_exact(&mut received)?;
        stream.write_all(&received)?;
        Ok(())
    });
    let mut stream = client.enter(|| {
        TcpStream::connect_timeout(&to, SOON).with_context(|| format!("cannot connect to {to}"))
    })?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(&sent).context("cannot send")?;
    let mut received = Vec::new();
    stream
        .read_to_end(&mut received)
        .context("cannot receive")?;
    echo.join()
        .map_err(|_panic| anyhow!("the echo panicked"))??;
    ensure!(
        received == sent,
        "{} bytes came back, not what was sent",
        received.len()
    );
    Ok(())
}

#[test]
fn a_megabyte_goes_over_tcp_and_comes_back() -> Result<()> {
    guarded_in_every_way(|pair| {
        for (client, _, server, to) in pair.directions() {
            // TCP has a port 123 too. 4460 is that of NTS key exchange.
            for port in [9000, 123, 4460] {
                transfer(
                    &client.namespace,
                    &server.namespace,
                    SocketAddr::new(to, port),
                )
                .with_context(|| format!("to {to} port {port}"))?;
            }
        }
        Ok(())
    })
}

#[test]
fn names_are_resolved_over_udp_and_over_tcp() -> Result<()> {
    const MANY: u16 = 500;
    guarded_in_every_way(|pair| {
        for (client, _, server, at) in pair.directions() {
            let dns = DnsServer::start(&server.namespace, at)?;
            let one: IpAddr = "192.0.2.1".parse()?;
            dns.set_fixed("one.test", &[one]);
            // Too long for a datagram.
            dns.set("many.test", Behaviour::Many(MANY));
            for (name, expected) in [("one.test", 1), ("many.test", usize::from(MANY))] {
                let line = ["getent", "ahostsv4", name];
                let output = output_with_nameserver(&client.namespace, at, &line)?;
                let printed = String::from_utf8_lossy(&output.stdout);
                let found = printed
                    .lines()
                    .filter(|line| line.contains("STREAM"))
                    .count();
                ensure!(
                    found == expected,
                    "{found} addresses of {name} from {at}: {output:?}"
                );
            }
            let over_tcp = |tcp| dns.questions().iter().any(|question| question.tcp == tcp);
            ensure!(over_tcp(true) && over_tcp(false), "{:?}", dns.questions());
        }
        Ok(())
    })
}
