//! Sockets that hear no more of a server than its answers take, so that one which never stops sending
//! costs no time.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::io::{AsyncRead, AsyncWrite};
use hickory_resolver::net::runtime::{
    DnsTcpStream, DnsUdpSocket, RuntimeProvider, TokioRuntimeProvider, TokioTime,
};

/// The most that a server may send at one asking, over all connections: four messages of DNS at their
/// longest, where its answers are two.
const MAX_BYTES: usize = 4 << 16;

type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;
type Udp = <TokioRuntimeProvider as RuntimeProvider>::Udp;
type Connecting<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

/// What makes such sockets. Its clones are of the same server.
#[derive(Clone, Default)]
pub(super) struct Bounded {
    sockets: TokioRuntimeProvider,
    heard: Heard,
}

/// How many bytes a server has sent.
#[derive(Clone, Default)]
struct Heard(Arc<AtomicUsize>);

/// A socket that counts them.
pub(super) struct Counted<S> {
    socket: S,
    heard: Heard,
}

impl Heard {
    fn add(&self, bytes: usize) -> io::Result<()> {
        if self.0.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_BYTES {
            return Err(io::Error::other("too much"));
        }
        Ok(())
    }
}

impl Bounded {
    /// What to say of a server that sent more: the resolver names what it met with last.
    pub(super) fn complaint(&self) -> Option<String> {
        let is_too_much = self.heard.0.load(Ordering::Relaxed) > MAX_BYTES;
        is_too_much.then(|| format!("it sent more than {} KiB", MAX_BYTES >> 10))
    }

    fn counting<S: 'static>(&self, connecting: Connecting<S>) -> Connecting<Counted<S>> {
        let heard = self.heard.clone();
        Box::pin(async move {
            let socket = connecting.await?;
            Ok(Counted { socket, heard })
        })
    }
}

impl RuntimeProvider for Bounded {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = TokioTime;
    type Udp = Counted<Udp>;
    type Tcp = Counted<Tcp>;

    fn create_handle(&self) -> Self::Handle {
        self.sockets.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        from: Option<SocketAddr>,
        patience: Option<Duration>,
    ) -> Connecting<Self::Tcp> {
        self.counting(self.sockets.connect_tcp(server, from, patience))
    }

    fn bind_udp(&self, from: SocketAddr, server: SocketAddr) -> Connecting<Self::Udp> {
        self.counting(self.sockets.bind_udp(from, server))
    }
}

impl DnsTcpStream for Counted<Tcp> {
    type Time = TokioTime;
}

impl AsyncRead for Counted<Tcp> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.socket).poll_read(context, bytes))?;
        Poll::Ready(self.heard.add(read).map(|()| read))
    }
}

impl AsyncWrite for Counted<Tcp> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context)
    }
}

impl DnsUdpSocket for Counted<Udp> {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let (read, from) = ready!(DnsUdpSocket::poll_recv_from(&self.socket, context, bytes))?;
        Poll::Ready(self.heard.add(read).map(|()| (read, from)))
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        DnsUdpSocket::poll_send_to(&self.socket, context, bytes, to)
    }
}
