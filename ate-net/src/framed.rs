//! Messages on a stream: lengths are looked at before anything is taken in.

use bytes::{Bytes, BytesMut};

use crate::error::NetError;
use crate::transport::{ReceiveHalf, SendHalf, Stream};
use crate::wire::{Kind, Refusal, RefusalCode, decode, encode};

/// Length and kind.
pub(crate) const HEADER_BYTES: usize = 5;
/// Longest control message once a peer is authenticated.
pub(crate) const CONTROL_BYTES_MAX: usize = 64 << 10;
/// Longest bulk message: a batch with the largest commit, or frames of that.
pub(crate) const BULK_BYTES_MAX: usize = 40 << 20;
/// Read at a time.
const READ_BYTES: usize = 256 << 10;
/// Words of a refusal.
const WORDS_BYTES_MAX: usize = 256;

/// Reads messages.
pub(crate) struct FrameReader {
    half: Box<dyn ReceiveHalf>,
    buffer: BytesMut,
}

/// Writes messages.
pub(crate) struct FrameWriter {
    half: Box<dyn SendHalf>,
}

/// Both sides of a stream.
pub(crate) fn framed(stream: Stream) -> (FrameWriter, FrameReader) {
    let reader = FrameReader {
        half: stream.receive,
        buffer: BytesMut::new(),
    };
    (FrameWriter { half: stream.send }, reader)
}

impl FrameReader {
    /// The next message, of at most `max` bytes; `None` at the clean end. Memory grows with what has come, not with what was announced. Cancel-safe.
    ///
    /// A refusal is an error.
    pub(crate) async fn next(&mut self, max: usize) -> Result<Option<(Kind, Bytes)>, NetError> {
        loop {
            if let Some(message) = self.whole(max)? {
                return Ok(Some(message));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The next message, if all of it has come.
    pub(crate) fn whole(&mut self, max: usize) -> Result<Option<(Kind, Bytes)>, NetError> {
        let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [a, b, c, d, kind] = *header;
        let bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        if bytes > max {
            self.half.stop(1);
            return Err(NetError::TooLarge {
                bytes: bytes as u64,
                max: max as u64,
            });
        }
        // Nobody sends the rest of what nobody knows.
        let kind = Kind::from_byte(kind).ok_or(NetError::Protocol {
            what: "a message of an unknown kind",
        })?;
        if self.buffer.len() < HEADER_BYTES + bytes {
            return Ok(None);
        }
        let mut message = self.buffer.split_to(HEADER_BYTES + bytes).freeze();
        let payload = message.split_off(HEADER_BYTES);
        take(kind, payload).map(Some)
    }

    /// Waits for more bytes; tells whether any came, or the clean end. Cancel-safe.
    pub(crate) async fn fill(&mut self) -> Result<bool, NetError> {
        match self.half.read(READ_BYTES).await? {
            Some(bytes) => {
                self.buffer.extend_from_slice(&bytes);
                Ok(true)
            }
            None if self.buffer.is_empty() => Ok(false),
            None => Err(NetError::Protocol {
                what: "a stream that ends within a message",
            }),
        }
    }

    /// Bytes that have come of messages that are not whole.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The half itself, and what was read from it already.
    pub(crate) fn into_parts(self) -> (Box<dyn ReceiveHalf>, Bytes) {
        (self.half, self.buffer.freeze())
    }

    /// The next message, which must be of this kind.
    pub(crate) async fn expect(&mut self, kind: Kind, max: usize) -> Result<Bytes, NetError> {
        match self.next(max).await? {
            Some((found, payload)) if found == kind => Ok(payload),
            Some(_) => Err(NetError::Protocol {
                what: "a message of another kind than expected",
            }),
            None => Err(NetError::Protocol {
                what: "a stream that ends before its answer",
            }),
        }
    }
}

fn take(kind: Kind, payload: Bytes) -> Result<(Kind, Bytes), NetError> {
    if kind != Kind::Refused {
        return Ok((kind, payload));
    }
    let Refusal { code, why } = decode(&payload)?;
    Err(NetError::Refused {
        code,
        why: shortened(&why),
    })
}

impl FrameWriter {
    /// Sends a message; waits while the reader is behind. *Not* cancel-safe: after a send that was dropped the stream is to be dropped too.
    pub(crate) async fn send(&mut self, kind: Kind, payload: &[u8]) -> Result<(), NetError> {
        let length = u32::try_from(payload.len()).map_err(|_| NetError::TooLarge {
            bytes: payload.len() as u64,
            max: u32::MAX.into(),
        })?;
        let mut message = BytesMut::with_capacity(HEADER_BYTES + payload.len());
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(&[kind as u8]);
        message.extend_from_slice(payload);
        Ok(self.half.write(message.freeze()).await?)
    }

    /// As [`send`](Self::send), without a copy of what is long.
    pub(crate) async fn send_bytes(&mut self, kind: Kind, payload: Bytes) -> Result<(), NetError> {
        // Below, one write costs more than the copy.
        const LONG_BYTES: usize = 16 << 10;
        if payload.len() < LONG_BYTES {
            return self.send(kind, &payload).await;
        }
        let length = u32::try_from(payload.len()).map_err(|_| NetError::TooLarge {
            bytes: payload.len() as u64,
            max: u32::MAX.into(),
        })?;
        let [a, b, c, d] = length.to_le_bytes();
        let header = Bytes::copy_from_slice(&[a, b, c, d, kind as u8]);
        self.half.write(header).await?;
        Ok(self.half.write(payload).await?)
    }

    /// The half itself.
    pub(crate) fn into_half(self) -> Box<dyn SendHalf> {
        self.half
    }

    /// Says no and ends.
    pub(crate) async fn refuse(mut self, code: RefusalCode, why: &str) -> Result<(), NetError> {
        let refusal = Refusal {
            code,
            why: shortened(why),
        };
        self.send(Kind::Refused, &encode(&refusal)).await?;
        self.finish()
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self) -> Result<(), NetError> {
        Ok(self.half.finish()?)
    }
}

/// As many whole characters as fit.
fn shortened(why: &str) -> String {
    let mut end = why.len().min(WORDS_BYTES_MAX);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    why[..end].into()
}
