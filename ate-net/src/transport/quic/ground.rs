//! What the library runs on: tokio, with a socket of our own and tasks that the thread which wakes them runs.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use socket2::{Domain, Protocol, Type};

use crate::inline;

#[derive(Debug)]
pub(super) struct Ground;

impl Runtime for Ground {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        inline::spawn(future);
    }

    #[cfg(unix)]
    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(super::socket::Socket::new(socket)?))
    }

    #[cfg(not(unix))]
    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// A socket to dial from. One for IPv6 reaches IPv4 too where the system lets it.
pub(super) fn dialling(from: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(from), Type::DGRAM, Some(Protocol::UDP))?;
    if from.is_ipv6()
        && let Err(error) = socket.set_only_v6(false)
    {
        tracing::debug!(%error, "no IPv4 from a socket for IPv6");
    }
    socket.bind(&from.into())?;
    Ok(socket.into())
}
