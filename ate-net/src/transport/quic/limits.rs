//! How much a QUIC node gives to whom.

use std::sync::Arc;
use std::time::Duration;

use quinn::{TransportConfig, VarInt};

use super::{TransportError, farewell};

/// Limits of a node that dials or answers. The defaults suit a server with some thousand clients; what one connection can make the node hold is
/// `stranger_window_bytes` before [`admit`](crate::Connection::admit) and `connection_window_bytes` after it.
#[derive(Clone, Debug)]
pub struct QuicLimits {
    /// How long a handshake may take: 10 s.
    pub handshake: Duration,
    /// Without a packet for so long, a connection breaks: 30 s.
    pub idle: Duration,
    /// After so long without a packet, the side that dialled sends one: 10 s.
    pub keep_alive: Duration,
    /// Streams that the peer may have open at a time: 1024.
    pub streams_max: u32,
    /// Unread bytes of one stream: 1 MiB.
    pub stream_window_bytes: u32,
    /// Unread bytes of all streams of one connection: 8 MiB. Once so many bytes lie unread, no stream of the connection moves on: streams are independent of each other as
    /// long as fewer than `connection_window_bytes / stream_window_bytes` of them stall.
    pub connection_window_bytes: u32,
    /// As `streams_max`, for a peer that dialled and was not admitted yet: 8.
    pub stranger_streams_max: u32,
    /// As `connection_window_bytes`, for a peer that dialled and was not admitted yet: 64 KiB.
    pub stranger_window_bytes: u32,
    /// Handshakes in progress, above which dialling nodes are refused: 1024.
    pub half_open_max: usize,
    /// Connections that were answered and are still held, above which dialling nodes are refused: 4096.
    pub connections_max: usize,
    /// When a dialling node must first show that it receives at its address: always, so that nobody uses up the share of an address that is not his.
    pub retry: Retry,
}

/// When an address is validated before anything is spent on it (RFC 9000, section 8.1.2), at the cost of a round trip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// Always.
    Always,
    /// While so many handshakes, or more, are in progress.
    Above(usize),
}

impl Default for QuicLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            keep_alive: Duration::from_secs(10),
            streams_max: 1024,
            stream_window_bytes: 1024 * 1024,
            connection_window_bytes: 8 * 1024 * 1024,
            stranger_streams_max: 8,
            stranger_window_bytes: 64 * 1024,
            half_open_max: 1024,
            connections_max: 4096,
            retry: Retry::Always,
        }
    }
}

impl QuicLimits {
    /// For a node that dials: it knows who answers, and gives the full limits from the start.
    pub(super) fn dialling(&self) -> Result<Arc<TransportConfig>, TransportError> {
        let mut config = self.common()?;
        config
            .keep_alive_interval(Some(self.keep_alive))
            .max_concurrent_bidi_streams(VarInt::from_u32(self.streams_max))
            .receive_window(VarInt::from_u32(self.connection_window_bytes));
        Ok(Arc::new(config))
    }

    /// For a node that answers: strangers get little, and nothing is sent to keep them alive.
    pub(super) fn answering(&self) -> Result<Arc<TransportConfig>, TransportError> {
        let mut config = self.common()?;
        config
            .max_concurrent_bidi_streams(VarInt::from_u32(self.stranger_streams_max))
            .receive_window(VarInt::from_u32(self.stranger_window_bytes));
        Ok(Arc::new(config))
    }

    fn common(&self) -> Result<TransportConfig, TransportError> {
        let idle = self.idle.try_into().map_err(|_| TransportError::Unusable {
            why: "the idle time is too long".to_owned(),
        })?;
        let mut config = TransportConfig::default();
        config
            .max_idle_timeout(Some(idle))
            .congestion_controller_factory(Arc::new(farewell::Factory::default()))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .stream_receive_window(VarInt::from_u32(self.stream_window_bytes))
            .send_window(u64::from(self.connection_window_bytes))
            .datagram_receive_buffer_size(None);
        Ok(config)
    }
}
