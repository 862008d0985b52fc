//! Servers that never stop sending what is no answer.

use std::time::Instant;

use hickory_resolver::proto::op::Message;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

use super::{server::sockets, *};

/// The answer to no question that was asked.
fn stray(question: &Message) -> Vec<u8> {
    let id = question.metadata.id.wrapping_add(1);
    let mut stray = Message::response(id, question.metadata.op_code);
    stray.add_query(question.queries[0].clone());
    stray.to_vec().unwrap()
}

async fn hear(socket: &UdpSocket) -> (Message, SocketAddr) {
    let mut bytes = vec![0; 4096];
    let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
    (Message::from_vec(&bytes[..length]).unwrap(), from)
}

/// Has all questions come over TCP.
async fn cut_off(socket: UdpSocket) {
    loop {
        let (question, from) = hear(&socket).await;
        let mut cut = Message::response(question.metadata.id, question.metadata.op_code);
        cut.metadata.truncation = true;
        cut.add_query(question.queries[0].clone());
        let bytes = cut.to_vec().unwrap();
        socket.send_to(&bytes, from).await.unwrap();
    }
}

async fn flood(mut stream: TcpStream) {
    // The longest there is, with an id that was hardly asked with.
    let mut message = vec![0; 2 + usize::from(u16::MAX)];
    message[..4].fill(0xff);
    while stream.write_all(&message).await.is_ok() {}
}

async fn flood_all(listener: TcpListener) {
    let mut streams = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        streams.spawn(flood(stream));
    }
}

async fn flood_with_strays(socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut floods = JoinSet::new();
    loop {
        let (question, from) = hear(&socket).await;
        let (socket, stray) = (Arc::clone(&socket), stray(&question));
        // Until it is not heard any more.
        floods.spawn(async move { while socket.send_to(&stray, from).await.is_ok() {} });
    }
}

/// It ends with what was sent, long before there is no more patience.
async fn ends_early(address: SocketAddr) {
    let resolver = resolver(&[address]);
    let began = Instant::now();
    let failure = resolver.ask(&Question::new("time.test", Family::V4)).await;
    let failure = failure.unwrap_err().to_string();
    assert!(failure.contains("it sent more than 256 KiB"), "{failure}");
    assert!(began.elapsed() < TIMEOUT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_floods_over_tcp_is_heard_no_longer() {
    let (udp, tcp) = sockets().await;
    let address = udp.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(cut_off(udp));
    tasks.spawn(flood_all(tcp));
    ends_early(address).await;
}

#[tokio::test]
async fn a_server_that_floods_over_udp_is_heard_no_longer() {
    let (udp, _tcp) = sockets().await;
    let address = udp.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(flood_with_strays(udp));
    ends_early(address).await;
}
