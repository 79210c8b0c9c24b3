//! Who counts those that come to a node: limits and metrics together, so that no refusal goes uncounted.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::limits::{IpPrefix, LimitHit, Limiter, Limits, Permit};
use crate::metrics::{ConnectionRefusal, HandshakeEnd, Metrics};

/// A place among the connections or the handshakes of an address.
pub(crate) type Place = Permit<Option<IpPrefix>>;

/// Limits and metrics of one node. A listener that is given it asks before it spends anything on whoever dials.
pub struct Gate {
    pub(crate) limiter: Limiter,
    pub(crate) metrics: Arc<Metrics>,
    /// Its own clock goes forward only, whatever the node's does.
    begun: Instant,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limiter: Limiter::new(limits),
            metrics: Arc::default(),
            begun: Instant::now(),
        }
    }

    /// Time since the node began, in ms.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts a limit that was hit.
    pub(crate) fn hit(&self, hit: LimitHit) -> LimitHit {
        self.metrics.limits_hit.add(hit.limit, 1);
        hit
    }

    /// A handshake from an address begins; what is returned is given back when the peer has proven who it is, or is gone.
    pub(crate) fn handshake(&self, from: Option<IpAddr>) -> Result<Place, LimitHit> {
        let begun = self.limiter.handshake(from, self.now_ms());
        begun.map_err(|hit| self.refused(hit))
    }

    /// A connection from an address.
    pub(crate) fn connection(&self, from: Option<IpAddr>) -> Result<Place, LimitHit> {
        let taken = self.limiter.connection(from);
        taken.map_err(|hit| self.refused(hit))
    }

    fn refused(&self, hit: LimitHit) -> LimitHit {
        let refused = &self.metrics.connections_refused;
        refused.add(ConnectionRefusal::Limit, 1);
        self.hit(hit)
    }

    /// A handshake ended before the node above learned of it.
    pub(crate) fn broken(&self, end: HandshakeEnd) {
        self.metrics.handshakes.add(end, 1);
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}
