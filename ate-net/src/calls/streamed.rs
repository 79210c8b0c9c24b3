//! The end of a path that is a stream of a connection.

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::error::PathError;
use super::limits::FRAME_BYTES_MAX;
use super::path::{Duplex, FrameSink, FrameSource};
use crate::framed::{FrameReader, FrameWriter};
use crate::transport::Task;
use crate::wire::Kind;

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
