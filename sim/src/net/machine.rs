//! A machine: a disk, the log on it, and the committer over that. It may lose its power at any call of the disk.

use std::sync::Arc;

use ate::chain::{Clock, Committer};
use ate::crypto::SeededRandom;
use ate::log::{FileLog, Log, Loss};

use super::run::{Broken, Outcome};
use crate::storage::SimStorage;
use crate::world::SMALL_FILES;

/// The time of the simulated network.
pub(super) struct VirtualTime(pub(super) tokio::time::Instant);

/// When every run begins, in ms since 1970.
const BEGINNING_MS: u64 = 1_700_000_000_000;

impl Clock for VirtualTime {
    fn now_ms(&self) -> u64 {
        BEGINNING_MS + self.0.elapsed().as_millis() as u64
    }
}

/// A disk with what runs over it.
pub(super) struct Machine {
    /// Host name in the network.
    pub(super) name: String,
    pub(super) storage: SimStorage,
    /// While it runs.
    committer: Option<Arc<Committer>>,
    clock: Arc<dyn Clock>,
    store: [u8; 16],
    seed: u64,
    openings: u64,
}

impl Machine {
    /// A machine with an empty disk, switched off. `number` tells its store from others.
    pub(super) fn new(name: &str, number: u8, seed: u64, clock: Arc<dyn Clock>) -> Self {
        Self {
            name: name.to_owned(),
            storage: SimStorage::new(),
            committer: None,
            clock,
            store: [number; 16],
            seed,
            openings: 0,
        }
    }

    /// Randomness that no other opening of no other machine has.
    pub(super) fn random(&self) -> Arc<SeededRandom> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.openings.to_le_bytes());
        bytes[16] = self.store[0];
        Arc::new(SeededRandom::from_bytes(bytes))
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    pub(super) fn is_on(&self) -> bool {
        self.committer.is_some()
    }

    /// What runs over the disk.
    pub(super) fn committer(&self) -> &Arc<Committer> {
        self.committer.as_ref().expect("the machine is on")
    }

    /// Opens the log. A crash alone is never damage.
    pub(super) fn boot(&mut self) -> Outcome {
        self.openings += 1;
        let log = FileLog::open(Arc::new(self.storage.clone()), SMALL_FILES);
        let log = log
            .map_err(|error| Broken::of("no false damage", format!("{}: {error:?}", self.name)))?;
        self.committer = Some(Committer::new(
            Arc::new(log),
            self.clock.clone(),
            self.random(),
            None,
            self.store,
        ));
        Ok(())
    }

    /// Whether the power is gone, or the log has failed: it has to start again.
    pub(super) fn has_fallen(&self) -> bool {
        self.is_on() && self.storage.disk().is_cut()
    }

    /// The power goes now, if it has not gone before; what was not synced is lost as `loss` says.
    pub(super) fn lose_power(&mut self, loss: Loss) {
        self.storage.kill();
        self.committer = None;
        self.storage = self.storage.after_cut(loss);
    }

    /// Ends in order.
    pub(super) fn switch_off(&mut self) -> Outcome {
        self.storage.heal();
        if let Some(committer) = self.committer.take() {
            committer.close();
            let closed = committer.log().close();
            closed.map_err(|error| Broken::of("closes", format!("{}: {error:?}", self.name)))?;
        }
        self.storage = self.storage.process();
        Ok(())
    }
}
