//! The end of a path that is a stream of a connection.

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::error::PathError;
use super::limits::FRAME_BYTES_MAX;
use super::path::{Duplex, FrameSink, FrameSource};
use crate::error::NetError;
use crate::framed::{FrameReader, FrameWriter, Gathered};
use crate::transport::Task;
use crate::wire::Kind;

/// Frames that are written together, at most.
const GATHERED_BYTES: usize = 16 << 10;
const _: () = assert!(GATHERED_BYTES <= FRAME_BYTES_MAX);

/// A path over both halves of a stream, after what was said to open it. `place` is given back when its writing half is dropped.
pub(crate) fn streamed(
    writer: FrameWriter,
    reader: FrameReader,
    place: Option<OwnedSemaphorePermit>,
) -> Duplex {
    Duplex {
        send: Box::new(Sink {
            writer,
            is_whole: true,
            _place: place,
        }),
        receive: Box::new(Source(reader)),
    }
}

struct Sink {
    writer: FrameWriter,
    /// No frame was left in the middle.
    is_whole: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl FrameSink for Sink {
    fn send(&mut self, frame: Bytes) -> Task<'_, Result<(), PathError>> {
        Box::pin(async move {
            if frame.len() > FRAME_BYTES_MAX {
                return Err(PathError::new("a frame is longer than a path takes"));
            }
            self.is_whole = false;
            let sent = self.writer.send_bytes(Kind::Opaque, frame).await;
            sent.map_err(|error| PathError::new(error.to_string()))?;
            self.is_whole = true;
            Ok(())
        })
    }

    fn send_all(&mut self, frames: Vec<Bytes>) -> Task<'_, Result<(), PathError>> {
        Box::pin(async move {
            let mut frames = frames.into_iter().peekable();
            while let Some(first) = frames.next() {
                if frames.peek().is_none() || first.len() > GATHERED_BYTES {
                    self.send(first).await?;
                    continue;
                }
                let in_words = |error: NetError| PathError::new(error.to_string());
                let mut gathered = Gathered::default();
                gathered.add(Kind::Opaque, &first).map_err(in_words)?;
                let fits = |bytes: usize, next: &Bytes| bytes + next.len() <= GATHERED_BYTES;
                while let Some(next) = frames.next_if(|next| fits(gathered.bytes(), next)) {
                    gathered.add(Kind::Opaque, &next).map_err(in_words)?;
                }
                self.is_whole = false;
                let sent = self.writer.send_gathered(gathered).await;
                sent.map_err(in_words)?;
                self.is_whole = true;
            }
            Ok(())
        })
    }
}

impl Drop for Sink {
    /// What was sent still arrives: often it is the answer for which the other end waits. A part of a frame is given up.
    fn drop(&mut self) {
        if self.is_whole {
            // Fails only if there is nobody left.
            let _ = self.writer.finish();
        }
    }
}

struct Source(FrameReader);

impl FrameSource for Source {
    fn receive(&mut self) -> Task<'_, Result<Option<Bytes>, PathError>> {
        Box::pin(async move {
            match self.0.next(FRAME_BYTES_MAX).await {
                Ok(Some((Kind::Opaque, frame))) => Ok(Some(frame)),
                Ok(None) => Ok(None),
                Ok(Some(_)) => Err(PathError::new("a message that is no frame of a call")),
                Err(error) => Err(PathError::new(error.to_string())),
            }
        })
    }
}
