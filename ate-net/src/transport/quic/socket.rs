//! The UDP socket, as it costs the fewest wake-ups.
//!
//! The library's own socket waits for room to write all the time: the system then wakes the thread that waits for the socket after every datagram that is sent. Here
//! only a socket that has refused a datagram waits for room. And a read that brings fewer datagrams than it might have has emptied the socket, so there is no second
//! one to learn that.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub(super) struct Socket {
    readable: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// The last datagram was refused for want of room.
    is_full: AtomicBool,
}

impl Socket {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        // Also says that the socket does not block.
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self {
            readable: watch(socket, Interest::READABLE)?,
            state,
            is_full: AtomicBool::new(false),
        })
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for types whose descriptor may change while they are watched; that of a socket of the standard library does not"
)]
fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room {
            socket: self,
            waiting: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send(self.readable.get_ref().into(), transmit);
        if sent
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        {
            self.is_full.store(true, Ordering::Release);
        }
        sent
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.readable.poll_read_ready(context))?;
            let read = ready.try_io(|socket| {
                let socket = socket.get_ref();
                self.state.recv(socket.into(), buffers, metas)
            });
            let Ok(read) = read else { continue };
            // Elsewhere one datagram is read at a time, however many wait.
            if cfg!(target_os = "linux") && read.as_ref().is_ok_and(|read| *read < metas.len()) {
                // What comes from now on is told anew.
                ready.clear_ready();
            }
            return Poll::Ready(read);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.readable.get_ref().local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Waits for room in a socket, for one task.
#[derive(Debug)]
struct Room {
    socket: Arc<Socket>,
    /// A second handle to the socket, as long as this waits.
    waiting: Option<AsyncFd<UdpSocket>>,
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.socket.is_full.load(Ordering::Acquire) {
            this.waiting = None;
            return Poll::Ready(Ok(()));
        }
        let waiting = match this.waiting.take() {
            Some(waiting) => waiting,
            None => {
                let socket = this.socket.readable.get_ref().try_clone()?;
                watch(socket, Interest::WRITABLE)?
            }
        };
        let is_ready = waiting.poll_write_ready(context).map_ok(|_| ())?;
        if is_ready.is_pending() {
            this.waiting = Some(waiting);
            return Poll::Pending;
        }
        this.socket.is_full.store(false, Ordering::Release);
        Poll::Ready(Ok(()))
    }
}
