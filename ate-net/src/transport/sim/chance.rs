//! Draws from a seed.

use std::time::Duration;

use parking_lot::Mutex;

/// SplitMix64 (Steele, Lea and Flood 2014): small, and good enough to choose delays.
pub(super) struct Chance(Mutex<u64>);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    fn next(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True so many times in a thousand.
    pub(super) fn hits(&self, per_mille: u32) -> bool {
        self.next() % 1000 < u64::from(per_mille)
    }

    /// From `low` up to `high`, to the microsecond.
    pub(super) fn between(&self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_micros()).unwrap_or(u64::MAX);
        low + Duration::from_micros(self.next() % span.saturating_add(1).max(1))
    }
}
