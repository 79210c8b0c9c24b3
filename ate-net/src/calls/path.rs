//! The seam between calls and whatever forwards them.

use ate_chain::ChainId;
use bytes::Bytes;

use super::announcement::AnnouncementId;
use super::error::PathError;
use crate::transport::Task;

/// What forwards frames between callers and servers: a node over connections, or [`MemoryHub`](super::MemoryHub).
///
/// Duties: frames of one path arrive whole, in order, once, or the path ends; a path holds a bounded number of frames and makes its writer wait. What is
/// forwarded is opaque. Nothing here is trusted: a forwarder that breaks a duty can delay and refuse, and neither read, change nor repeat a call.
pub trait CallPath: Send + Sync + 'static {
    /// The announcements of all servers of a service that are there now, in any order.
    fn announcements<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
    ) -> Task<'a, Result<Vec<Bytes>, PathError>>;

    /// A new path to the server that made this announcement.
    fn open<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
        to: AnnouncementId,
    ) -> Task<'a, Result<Duplex, PathError>>;

    /// Makes a server known by its first announcement, until what is returned is dropped.
    fn serve<'a>(
        &'a self,
        chain: ChainId,
        service: &'a str,
        id: AnnouncementId,
        announcement: Bytes,
    ) -> Task<'a, Result<Box<dyn ServingPath>, PathError>>;
}

/// A server as the path knows it.
pub trait ServingPath: Send + Sync + 'static {
    /// Shows a newer announcement in place of the last. Paths that callers open under an earlier one still arrive.
    fn renew(&self, id: AnnouncementId, announcement: Bytes) -> Task<'_, Result<(), PathError>>;

    /// The next path that a caller opened; `None` when there will be none. Cancel-safe.
    fn accept(&self) -> Task<'_, Option<Duplex>>;
}

/// A path between one caller and one server, seen from one end. Dropping the sending half ends the path for the reader at the other end.
pub struct Duplex {
    /// Writes.
    pub send: Box<dyn FrameSink>,
    /// Reads.
    pub receive: Box<dyn FrameSource>,
}

/// Writes frames.
pub trait FrameSink: Send {
    /// Hands a frame over, waiting while the path is full. *Not* cancel-safe: the frame may have been handed over.
    fn send(&mut self, frame: Bytes) -> Task<'_, Result<(), PathError>>;
}

/// Reads frames.
pub trait FrameSource: Send {
    /// The next frame, at most [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX) bytes; `None` at the end. Cancel-safe.
    fn receive(&mut self) -> Task<'_, Result<Option<Bytes>, PathError>>;
}
