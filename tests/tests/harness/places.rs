//! Where a request may come from that is not the time daemon's: behind a gateway, in a container.

use std::{net::SocketAddr, process::Command};

use anyhow::{Result, ensure};
use ntpguard_tests::{
    container,
    gateway::Gateway,
    packets::{self, sink::Sink},
    process,
    switch::Switch,
};

use super::SOON;

#[test]
fn hosts_behind_a_gateway_are_seen_with_its_address() -> Result<()> {
    let outside = Switch::new()?;
    let server = outside.host("server", 1)?;
    let gateway = Gateway::new(&outside)?;
    let client = gateway.client("client", 1)?;
    let sink = Sink::ntp(&server.namespace)?;
    for (from, to) in client.addresses().into_iter().zip(server.addresses()) {
        let to = SocketAddr::new(to, 123);
        packets::send(&client.namespace, SocketAddr::new(from, 123), to, b"hello")?;
    }
    sink.wait_for(2, SOON)?;
    for address in gateway.outer.addresses() {
        ensure!(sink.count_from(address) == 1, "{:?}", sink.by_source());
    }
    Ok(())
}

#[test]
fn a_container_is_root_inside_and_a_user_outside() -> Result<()> {
    const USER: u32 = 4321;
    let mut look = Command::new("sh");
    look.args(["-c", "id -u; cat /proc/self/uid_map; echo pid $$"]);
    let printed = process::run(container::command(&look, USER))?;
    let words: Vec<_> = printed.split_whitespace().collect();
    // Its user id; inside, outside and how many are mapped; and it is its own first process.
    ensure!(words == ["0", "0", "4321", "1", "pid", "1"], "{printed}");
    Ok(())
}
