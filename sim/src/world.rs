//! Who acts, what time it is, and how a store is opened: the same again for the same seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ate::chain::Clock;
use ate::crypto::SeededRandom;
use ate::log::{LogOptions, Storage};
use ate::prelude::*;
use ate::{Error, Identity, Seed, StoreBuilder};

/// The typed record of all runs.
#[derive(Serialize, Deserialize, Record, Clone, PartialEq, Debug)]
pub struct Account {
    /// Its name in the oracle; nothing else in a run holds an `@`.
    pub email: String,
    /// Any number.
    pub balance: i64,
}

/// Files so small that a run fills several, and groups that do not fit into one.
pub const SMALL_FILES: LogOptions = LogOptions {
    log_id: [0; 16],
    segment_bytes_min: 16 << 10,
    segment_bytes_max: 64 << 10,
    zero_window_bytes: 4 << 10,
    groups: 2,
    reserve_bytes: 0,
};

/// A clock that moves one millisecond at each look.
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Two identities, a clock, and randomness that goes on over all openings of one run.
pub struct World {
    /// The root of every chain.
    pub anna: Identity,
    /// Reads and writes what he is let.
    pub bob: Identity,
    options: LogOptions,
    clock: Arc<dyn Clock>,
    seed: u64,
    openings: AtomicU64,
}

impl World {
    /// A world for one run, in which logs are made with `options`.
    #[must_use]
    pub fn new(seed: u64, options: LogOptions) -> Self {
        Self {
            anna: Identity::from_seed(&Seed::from_bytes([1; 32])),
            bob: Identity::from_seed(&Seed::from_bytes([2; 32])),
            options,
            clock: Arc::new(Ticks(AtomicU64::new(1_700_000_000_000))),
            seed,
            openings: AtomicU64::new(0),
        }
    }

    /// Opens a store over `storage` as Anna.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(&self, storage: Arc<dyn Storage>) -> Result<Store, Error> {
        self.builder(storage).open().wait()
    }

    /// What [`World::open`] opens, for further wishes. No two openings draw the same numbers.
    #[must_use]
    pub fn builder(&self, storage: Arc<dyn Storage>) -> StoreBuilder {
        let opening = self.openings.fetch_add(1, Ordering::Relaxed);
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&opening.to_le_bytes());
        Store::builder("never-touched")
            .identity(self.anna.clone())
            .storage(storage)
            .clock(self.clock.clone())
            .random(Arc::new(SeededRandom::from_bytes(seed)))
            .log_options(self.options)
            .single_threaded()
    }
}

/// A document of about `bytes` bytes that is unlike any other.
#[must_use]
pub fn text(label: u64, bytes: usize) -> String {
    let mut body = String::with_capacity(bytes + 64);
    let mut word = label.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while body.len() < bytes {
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(label);
        body.push_str(&format!("{word:016x}"));
    }
    format!(r#"{{"label": {label}, "body": "{body}"}}"#)
}
