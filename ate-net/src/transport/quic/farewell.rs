//! Congestion control that lets the last packet of a connection through.
//!
//! The library asks the congestion controller before it sends anything that the peer must acknowledge, and a CONNECTION_CLOSE that travels with waiting data is held back
//! with it. A closed connection takes no more acknowledgements, so the window never opens again: the peer hears nothing, and holds the connection until it has been
//! silent for too long. One last packet is no congestion (RFC 9000, section 10.2.3 asks to limit repetitions only).

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};

/// Above this, packets are not paced either.
const WIDE_OPEN: u64 = 1 << 40;

/// Makes the library's default controller (CUBIC, RFC 9438) with a door that [`open`] opens.
#[derive(Default)]
pub(super) struct Factory(Arc<CubicConfig>);

impl ControllerFactory for Factory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Leaving {
            inner: self.0.clone().build(now, current_mtu),
            leaves: Arc::default(),
        })
    }
}

/// From now on, nothing of this connection waits for acknowledgements. Before closing it, and at no other time.
pub(super) fn open(connection: &quinn::Connection) {
    if let Ok(controller) = connection
        .congestion_state()
        .into_any()
        .downcast::<Leaving>()
    {
        controller.leaves.store(true, Ordering::Release);
    }
}

struct Leaving {
    inner: Box<dyn Controller>,
    /// Shared by the copies.
    leaves: Arc<AtomicBool>,
}

impl Controller for Leaving {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &quinn_proto::RttEstimator,
    ) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.leaves.load(Ordering::Acquire) {
            WIDE_OPEN
        } else {
            self.inner.window()
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            inner: self.inner.clone_box(),
            leaves: self.leaves.clone(),
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
