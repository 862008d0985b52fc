//! The resolver against dnsmasq, a DNS server that others wrote.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Instant,
};

use super::*;

struct Dnsmasq {
    process: Child,
    address: SocketAddr,
}

impl Dnsmasq {
    fn start(records: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let process = Command::new("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--no-resolv",
                "--no-hosts",
                "--bind-interfaces",
            ])
            .args([
                "--conf-file=/dev/null",
                "--pid-file=",
                "--user=",
                "--local-ttl=77",
            ])
            .args(["--listen-address=127.0.0.1", "--local=/test/"])
            .arg(format!("--port={}", address.port()))
            .args(records)
            .stdin(Stdio::null())
            .spawn()
            .expect("this test needs dnsmasq: on Debian, apt install dnsmasq-base");
        Self { process, address }
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[tokio::test]
async fn dnsmasq_is_understood() {
    let dnsmasq = Dnsmasq::start(&[
        "--host-record=time.test,192.0.2.1,2001:db8::1",
        "--cname=alias.test,time.test",
    ]);
    let resolver = resolver(&[dnsmasq.address]);
    let both = parsed(&["192.0.2.1", "2001:db8::1"]);

    // It takes a moment to open its port.
    let start = Instant::now();
    let mut answer = resolver.ask(&any("time.test")).await;
    while answer.is_err() && start.elapsed() < Duration::from_secs(20) {
        answer = resolver.ask(&any("time.test")).await;
    }
    let answer = answer.unwrap();
    assert_eq!(
        (answer.addresses, answer.ttl, answer.unanswered),
        (both.clone(), 77, None)
    );

    let answer = resolver.ask(&any("alias.test")).await.unwrap();
    assert_eq!((answer.addresses, answer.ttl), (both, 77));
    assert_eq!(
        resolver.ask(&any("none.test")).await,
        Err(Failure::NoSuchName)
    );
}
