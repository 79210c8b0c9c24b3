//! Bytes that a node holds for others: counted as they come, in all and for one connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::NetError;
use crate::metrics::{Gauge, Metrics};
use crate::wire::RefusalCode;

/// What is counted: small enough that nobody gets much for nothing.
const UNIT_BYTES: usize = 1024;
/// How long one that holds something waits for more before it gives up what it holds: two that wait for each other do not wait for ever.
const WAIT: Duration = Duration::from_secs(5);

/// The share of one connection in what the node may hold.
#[derive(Clone)]
pub(super) struct Share {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
    /// Where those who watch see it.
    gauge: fn(&Metrics) -> &Gauge,
    metrics: Arc<Metrics>,
}

/// What is held, until it is dropped.
pub(super) struct Held {
    share: Share,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    units: usize,
}

/// Room for so many bytes.
pub(super) fn room(bytes: usize) -> Arc<Semaphore> {
    let units = bytes.div_ceil(UNIT_BYTES);
    Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS)))
}

impl Share {
    pub(super) fn new(
        all: &Arc<Semaphore>,
        own_bytes: usize,
        gauge: fn(&Metrics) -> &Gauge,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self {
            all: all.clone(),
            own: room(own_bytes),
            gauge,
            metrics: metrics.clone(),
        }
    }

    fn gauge(&self) -> &Gauge {
        (self.gauge)(&self.metrics)
    }

    pub(super) fn nothing(&self) -> Held {
        Held {
            share: self.clone(),
            permits: None,
            units: 0,
        }
    }
}

impl Held {
    /// Holds so many bytes in all, waiting a while if there is no room. Cancel-safe: then it holds what it held.
    ///
    /// # Errors
    /// [`RefusalCode::Busy`]: there is no room.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), NetError> {
        let units = bytes.div_ceil(UNIT_BYTES);
        let more = units.saturating_sub(self.units);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let Share { all, own, .. } = self.share.clone();
        let taken = timeout(WAIT, async {
            // First the own share: who has used that up keeps nothing from others while it waits.
            let own = own.acquire_many_owned(more).await.ok()?;
            Some((own, all.acquire_many_owned(more).await.ok()?))
        });
        let Ok(Some((own, all))) = taken.await else {
            return Err(NetError::Refused {
                code: RefusalCode::Busy,
                why: "the node holds as many bytes as it may".into(),
            });
        };
        match &mut self.permits {
            Some((held_own, held_all)) => {
                held_own.merge(own);
                held_all.merge(all);
            }
            None => self.permits = Some((own, all)),
        }
        self.share
            .gauge()
            .add(((units - self.units) * UNIT_BYTES) as u64);
        self.units = units;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.gauge().sub((self.units * UNIT_BYTES) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_connection_does_not_take_the_room_of_all() {
        let all = room(100 << 10);
        let metrics = Arc::<Metrics>::default();
        let share = || Share::new(&all, 60 << 10, |it| &it.receive_buffer_bytes, &metrics);
        let (greedy, modest) = (share(), share());
        let mut held = greedy.nothing();
        held.grow(60 << 10).await.expect("its share");
        let mut more = greedy.nothing();
        assert!(more.grow(1).await.is_err(), "its share is used up");
        let mut other = modest.nothing();
        other.grow(30 << 10).await.expect("there is room");
        other.grow(40 << 10).await.expect("to the last byte");
        assert!(other.grow((40 << 10) + 1).await.is_err());
        drop(held);
        other.grow(50 << 10).await.expect("room was made");
        assert_eq!(metrics.receive_buffer_bytes.value(), 50 << 10);
        drop((other, more));
        assert_eq!(metrics.receive_buffer_bytes.value(), 0);
        assert_eq!(all.available_permits(), 100);
    }
}
