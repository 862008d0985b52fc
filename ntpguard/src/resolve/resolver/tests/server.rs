//! A DNS server that answers as a test tells it to.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// What the server does about a question.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Answers with these records, or that there are none.
    Records(Vec<Record>),
    /// Answers with this code and no record.
    Code(ResponseCode),
    /// Answers with bytes that are no message, after the question's id.
    Garbage(&'static [u8]),
    /// Does not answer.
    Silence,
}

/// A question as the server got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) record_type: RecordType,
    pub(super) tcp: bool,
}

type Replies = Arc<dyn Fn(&Query) -> Reply + Send + Sync>;
type Log = Arc<Mutex<Vec<Asked>>>;

/// A server on a loopback port, UDP and TCP, as long as it lives.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    log: Log,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(replies: impl Fn(&Query) -> Reply + Send + Sync + 'static) -> Self {
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().unwrap();
        let (replies, log): (Replies, Log) = (Arc::new(replies), Log::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, Arc::clone(&replies), Arc::clone(&log)));
        tasks.spawn(serve_tcp(tcp, replies, Arc::clone(&log)));
        Self {
            address,
            log,
            _tasks: tasks,
        }
    }

    /// What was asked so far, in the order of asking.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }
}

/// A UDP and a TCP socket on one port.
pub(super) async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP on 127.0.0.1");
}

async fn serve_udp(socket: UdpSocket, replies: Replies, log: Log) {
    let mut buffer = vec![0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let question = Message::from_vec(&buffer[..length]).unwrap();
        if let Some(reply) = reply(&question, &replies, &log, false) {
            socket.send_to(&reply, from).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, replies: Replies, log: Log) {
    while let Ok((mut stream, _)) = listener.accept().await {
        while let Ok(question) = read_tcp(&mut stream).await {
            if let Some(reply) = reply(&question, &replies, &log, true) {
                stream
                    .write_u16(reply.len().try_into().unwrap())
                    .await
                    .unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        }
    }
}

async fn read_tcp(stream: &mut TcpStream) -> io::Result<Message> {
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; length.into()];
    stream.read_exact(&mut buffer).await?;
    Ok(Message::from_vec(&buffer).unwrap())
}

fn reply(question: &Message, replies: &Replies, log: &Log, tcp: bool) -> Option<Vec<u8>> {
    let query = &question.queries[0];
    let (name, record_type) = (query.name().to_ascii(), query.query_type());
    log.lock().unwrap().push(Asked {
        name,
        record_type,
        tcp,
    });

    let mut message = Message::response(question.metadata.id, question.metadata.op_code);
    message.metadata.message_type = MessageType::Response;
    message.add_query(query.clone());
    match replies(query) {
        Reply::Records(records) => drop(message.add_answers(records)),
        Reply::Code(code) => message.metadata.response_code = code,
        Reply::Garbage(garbage) => {
            return Some([&question.metadata.id.to_be_bytes(), garbage].concat());
        }
        Reply::Silence => return None,
    }
    let bytes = message.to_vec().unwrap();
    let room = if tcp {
        usize::from(u16::MAX)
    } else {
        question.max_payload().into()
    };
    Some(if bytes.len() <= room {
        bytes
    } else {
        message.truncate().to_vec().unwrap()
    })
}

/// An address record of the family that `address` has.
pub(super) fn address(name: &str, address: &str, ttl: u32) -> Record {
    let data = match address.parse().unwrap() {
        std::net::IpAddr::V4(address) => RData::A(rdata::A(address)),
        std::net::IpAddr::V6(address) => RData::AAAA(rdata::AAAA(address)),
    };
    Record::from_rdata(Name::from_ascii(name).unwrap(), ttl, data)
}

/// A record that says `name` is another name for `target`.
pub(super) fn alias(name: &str, target: &str, ttl: u32) -> Record {
    let target = rdata::CNAME(Name::from_ascii(target).unwrap());
    Record::from_rdata(Name::from_ascii(name).unwrap(), ttl, RData::CNAME(target))
}
