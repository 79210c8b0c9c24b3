//! A connection between two ends in one process, whatever carries its frames: memory carries them at once, the simulation when it likes.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pipe::{Opening, Pipe, Receiver, Sender};
use super::queue::Queue;
use super::signal::Signal;
use super::{Connection, Stream, Task, TransportError, short};

/// Bytes of a stream that may be on the way or unread.
pub(super) const WINDOW_BYTES: usize = 256 * 1024;
/// Streams that one side may have open.
const STREAMS_MAX: usize = 1024;

/// Which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Dialler = 0,
    Listener = 1,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Listener,
            Self::Listener => Self::Dialler,
        }
    }
}

/// What crosses a connection.
pub(super) enum Frame {
    /// A stream, as its opener numbered it: the pipe to the receiver of this frame, and the pipe back.
    Open {
        forth: Arc<Pipe>,
        back: Arc<Pipe>,
        permit: Arc<OwnedSemaphorePermit>,
    },
    Data {
        pipe: Arc<Pipe>,
        bytes: Bytes,
    },
    Finish {
        pipe: Arc<Pipe>,
    },
    Reset {
        pipe: Arc<Pipe>,
        code: u32,
    },
    Stop {
        pipe: Arc<Pipe>,
        code: u32,
    },
    Close {
        code: u32,
        why: String,
    },
}

impl Frame {
    /// The pipe whose frames must arrive in the order in which they were sent; `None`: of no stream.
    pub(super) fn pipe(&self) -> Option<u64> {
        match self {
            Self::Open { forth: pipe, .. }
            | Self::Data { pipe, .. }
            | Self::Finish { pipe }
            | Self::Reset { pipe, .. }
            | Self::Stop { pipe, .. } => Some(pipe.number),
            Self::Close { .. } => None,
        }
    }
}

/// Takes frames across.
pub(super) trait Carrier: Send + Sync + 'static {
    /// Has `frame` arrive at `to` (by [`Link::arrive`]), now or later or never; frames of one pipe in order.
    fn carry(&self, link: &Arc<Link>, to: Side, frame: Frame);
}

/// Both ends of one connection.
pub(super) struct Link {
    carrier: Box<dyn Carrier>,
    binding: [u8; 32],
    ends: [End; 2],
    pipes: Mutex<u64>,
}

struct End {
    /// Where the *other* side is, as this side sees it.
    peer: Option<IpAddr>,
    ended: Signal<Option<TransportError>>,
    streams: Queue<Stream>,
    permits: Arc<Semaphore>,
    hold: Mutex<Weak<Hold>>,
}

/// Keeps one side of a connection alive: the connection handle and each of its streams have it.
pub(super) struct Hold {
    pub(super) link: Arc<Link>,
    pub(super) side: Side,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.link.close(self.side, 0, "dropped");
    }
}

impl Link {
    /// Makes the two ends: the dialler's, then the listener's.
    pub(super) fn pair(
        carrier: Box<dyn Carrier>,
        binding: [u8; 32],
        peers: [Option<IpAddr>; 2],
    ) -> (LinkConnection, LinkConnection) {
        let end = |peer| End {
            peer,
            ended: Signal::new(None),
            streams: Queue::new(STREAMS_MAX),
            permits: Arc::new(Semaphore::new(STREAMS_MAX)),
            hold: Mutex::new(Weak::new()),
        };
        let [dialler, listener] = peers;
        let link = Arc::new(Self {
            carrier,
            binding,
            ends: [end(dialler), end(listener)],
            pipes: Mutex::new(0),
        });
        let connection = |side| {
            let hold = Arc::new(Hold {
                link: Arc::clone(&link),
                side,
            });
            *link.end_of(side).hold.lock() = Arc::downgrade(&hold);
            LinkConnection { hold }
        };
        (connection(Side::Dialler), connection(Side::Listener))
    }

    fn end_of(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    /// Why the connection has ended for `side`, if it has.
    pub(super) fn ended(&self, side: Side) -> Option<TransportError> {
        self.end_of(side).ended.lock().clone()
    }

    /// Waits until it has.
    pub(super) async fn until_ended(&self, side: Side) -> TransportError {
        self.end_of(side).ended.until(Option::clone).await
    }

    /// Sends a frame from `from`, unless the connection has ended there.
    pub(super) fn send(self: &Arc<Self>, from: Side, frame: Frame) {
        if self.ended(from).is_none() {
            self.carrier.carry(self, from.other(), frame);
        }
    }

    /// A frame is there.
    pub(super) fn arrive(self: &Arc<Self>, at: Side, frame: Frame) {
        if self.ended(at).is_some() {
            return;
        }
        match frame {
            Frame::Open {
                forth,
                back,
                permit,
            } => {
                let Some(hold) = self.end_of(at).hold.lock().upgrade() else {
                    return;
                };
                let opening = Arc::new(Opening::none());
                let stream = Stream {
                    send: Box::new(Sender::new(
                        Arc::clone(&hold),
                        back,
                        Arc::clone(&permit),
                        Arc::clone(&opening),
                    )),
                    receive: Box::new(Receiver::new(hold, forth, permit, opening)),
                };
                // Full is impossible: the opener has a permit for each stream. Closed is: the stream is dropped.
                drop(self.end_of(at).streams.push(stream));
            }
            Frame::Data { pipe, bytes } => pipe.arrived(bytes),
            Frame::Finish { pipe } => pipe.finished(),
            Frame::Reset { pipe, code } => pipe.was_reset(code),
            Frame::Stop { pipe, code } => pipe.was_stopped(code),
            Frame::Close { code, why } => self.end(at, TransportError::ClosedByPeer { code, why }),
        }
    }

    /// Ends the connection for one side alone: the other learns nothing.
    pub(super) fn end(&self, side: Side, error: TransportError) {
        let end = self.end_of(side);
        let first = end.ended.change(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(error);
            }
            first
        });
        if first {
            drop(end.streams.close());
        }
    }

    /// Ends it for both sides, with nothing said.
    pub(super) fn break_off(&self, why: &str) {
        for side in [Side::Dialler, Side::Listener] {
            let why = why.to_owned();
            self.end(side, TransportError::Broken { why });
        }
    }

    fn close(self: &Arc<Self>, side: Side, code: u32, why: &str) {
        let why = short(why);
        self.send(side, Frame::Close { code, why });
        self.end(side, TransportError::Closed);
    }

    fn number(&self) -> u64 {
        let mut pipes = self.pipes.lock();
        *pipes += 1;
        *pipes
    }
}

/// One end, as it is given out.
pub(super) struct LinkConnection {
    hold: Arc<Hold>,
}

impl LinkConnection {
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.hold.link
    }

    fn end(&self) -> &End {
        self.hold.link.end_of(self.hold.side)
    }
}

impl Connection for LinkConnection {
    fn open(&self) -> Task<'_, Result<Stream, TransportError>> {
        Box::pin(async {
            let (link, side) = (&self.hold.link, self.hold.side);
            let permit = tokio::select! {
                biased;
                error = link.until_ended(side) => return Err(error),
                permit = Arc::clone(&self.end().permits).acquire_owned() => permit,
            };
            let permit = Arc::new(permit.map_err(|_| TransportError::Closed)?);
            let forth = Arc::new(Pipe::new(link.number()));
            let back = Arc::new(Pipe::new(link.number()));
            let opening = Arc::new(Opening::new(
                Arc::clone(&forth),
                Arc::clone(&back),
                Arc::clone(&permit),
            ));
            let hold = Arc::clone(&self.hold);
            let receive = Receiver::new(hold, back, Arc::clone(&permit), Arc::clone(&opening));
            let send = Sender::new(Arc::clone(&self.hold), forth, permit, opening);
            Ok(Stream {
                send: Box::new(send),
                receive: Box::new(receive),
            })
        })
    }

    fn accept(&self) -> Task<'_, Result<Stream, TransportError>> {
        Box::pin(async {
            match self.end().streams.pop().await {
                Some(stream) => Ok(stream),
                None => Err(self.hold.link.until_ended(self.hold.side).await),
            }
        })
    }

    fn peer(&self) -> Option<IpAddr> {
        self.end().peer
    }

    fn binding(&self) -> [u8; 32] {
        self.hold.link.binding
    }

    fn close(&self, code: u32, why: &str) {
        self.hold.link.close(self.hold.side, code, why);
    }

    fn closed(&self) -> Task<'_, TransportError> {
        Box::pin(self.hold.link.until_ended(self.hold.side))
    }
}
