//! A QUIC connection and its streams behind the traits.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use quinn::{ConnectionError, ReadError, VarInt, WriteError};
use tokio::sync::OwnedSemaphorePermit;

use super::farewell;
use crate::gate::Place;
use crate::transport::{Connection, ReceiveHalf, SendHalf, Stream, Task, TransportError, short};

/// Label of the exporter (RFC 8446, section 7.5) that binds a signature to a connection.
const BINDING_LABEL: &[u8] = b"EXPORTER-ATE-channel-v1";

/// What a peer that dialled gets when it is admitted, and its place among the connections.
pub(super) struct Dialler {
    pub(super) streams_max: u32,
    pub(super) window_bytes: u32,
    pub(super) slot: Arc<OwnedSemaphorePermit>,
    /// Its address's place among those that have not said who they are.
    pub(super) place: Mutex<Option<Place>>,
}

pub(super) struct QuicConnection {
    inner: quinn::Connection,
    binding: [u8; 32],
    /// The peer, if it dialled.
    dialler: Option<Dialler>,
}

impl QuicConnection {
    /// After the handshake.
    pub(super) fn new(
        inner: quinn::Connection,
        dialler: Option<Dialler>,
    ) -> Result<Self, TransportError> {
        let mut binding = [0; 32];
        inner
            .export_keying_material(&mut binding, BINDING_LABEL, b"")
            .map_err(|_| TransportError::Broken {
                why: "the handshake gave no binding".to_owned(),
            })?;
        Ok(Self {
            inner,
            binding,
            dialler,
        })
    }

    fn stream(&self, (send, receive): (quinn::SendStream, quinn::RecvStream)) -> Stream {
        let slot = || self.dialler.as_ref().map(|it| Arc::clone(&it.slot));
        Stream {
            send: Box::new(Sender {
                inner: send,
                connection: self.inner.clone(),
                done: false,
                _slot: slot(),
            }),
            receive: Box::new(Receiver {
                inner: receive,
                _slot: slot(),
            }),
        }
    }
}

impl Connection for QuicConnection {
    fn open(&self) -> Task<'_, Result<Stream, TransportError>> {
        Box::pin(async {
            let opened = self.inner.open_bi().await;
            opened.map(|halves| self.stream(halves)).map_err(closed)
        })
    }

    fn accept(&self) -> Task<'_, Result<Stream, TransportError>> {
        Box::pin(async {
            let accepted = self.inner.accept_bi().await;
            accepted.map(|halves| self.stream(halves)).map_err(closed)
        })
    }

    fn peer(&self) -> Option<IpAddr> {
        Some(self.inner.remote_address().ip().to_canonical())
    }

    fn admit(&self) {
        if let Some(dialler) = &self.dialler {
            drop(dialler.place.lock().take());
            let window = VarInt::from_u32(dialler.window_bytes);
            self.inner.set_receive_window(window);
            let streams = VarInt::from_u32(dialler.streams_max);
            self.inner.set_max_concurrent_bi_streams(streams);
        }
    }

    fn binding(&self) -> [u8; 32] {
        self.binding
    }

    fn close(&self, code: u32, why: &str) {
        farewell::open(&self.inner);
        self.inner.close(code.into(), short(why).as_bytes());
    }

    fn closed(&self) -> Task<'_, TransportError> {
        Box::pin(async { closed(self.inner.closed().await) })
    }
}

struct Sender {
    inner: quinn::SendStream,
    connection: quinn::Connection,
    /// Finished or reset.
    done: bool,
    _slot: Option<Arc<OwnedSemaphorePermit>>,
}

impl SendHalf for Sender {
    fn write(&mut self, bytes: Bytes) -> Task<'_, Result<(), TransportError>> {
        Box::pin(async {
            let written = self.inner.write_chunk(bytes).await;
            written.map_err(|error| match error {
                WriteError::Stopped(code) => TransportError::Reset { code: small(code) },
                WriteError::ConnectionLost(error) => closed(error),
                WriteError::ClosedStream => TransportError::Closed,
                WriteError::ZeroRttRejected => broken(&error),
            })
        })
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        if let Some(error) = self.connection.close_reason() {
            return Err(closed(error));
        }
        self.done = true;
        self.inner.finish().map_err(|_| TransportError::Closed)
    }

    fn reset(&mut self, code: u32) {
        self.done = true;
        // Fails only when there is nothing left to give up.
        let _ = self.inner.reset(code.into());
    }
}

impl Drop for Sender {
    /// The library would finish the stream, and the reader would take a part for the whole.
    fn drop(&mut self) {
        if !self.done {
            self.reset(0);
        }
    }
}

/// Dropped, the library tells the writer to stop.
struct Receiver {
    inner: quinn::RecvStream,
    _slot: Option<Arc<OwnedSemaphorePermit>>,
}

impl ReceiveHalf for Receiver {
    fn read(&mut self, max: usize) -> Task<'_, Result<Option<Bytes>, TransportError>> {
        Box::pin(async move {
            match self.inner.read_chunk(max.max(1), true).await {
                Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
                Err(ReadError::Reset(code)) => Err(TransportError::Reset { code: small(code) }),
                Err(ReadError::ConnectionLost(error)) => Err(closed(error)),
                Err(ReadError::ClosedStream) => Err(TransportError::Closed),
                Err(error) => Err(broken(&error)),
            }
        })
    }

    fn stop(&mut self, code: u32) {
        // Fails only when there is nothing left to stop.
        let _ = self.inner.stop(code.into());
    }
}

/// A code of the peer, which may be larger than those of this crate.
fn small(code: VarInt) -> u32 {
    u32::try_from(code.into_inner()).unwrap_or(u32::MAX)
}

fn broken(why: &dyn std::fmt::Display) -> TransportError {
    TransportError::Broken {
        why: why.to_string(),
    }
}

/// Why a connection has ended.
pub(super) fn closed(error: ConnectionError) -> TransportError {
    match error {
        ConnectionError::ApplicationClosed(close) => TransportError::ClosedByPeer {
            code: small(close.error_code),
            why: short(&String::from_utf8_lossy(&close.reason)),
        },
        ConnectionError::LocallyClosed => TransportError::Closed,
        other => broken(&other),
    }
}
