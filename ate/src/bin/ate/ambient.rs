//! The one place of the executable that reads the ambient world: randomness for a sealed identity, a stopwatch for the demo and for rates, the time for ages.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ate::crypto::Random;

/// The operating system's source of randomness.
pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the file of the executable that reads ambient randomness"
    )]
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system provides randomness");
    }
}

/// How long ago it was 1970, less `age`, in ms.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the file of the executable that reads the ambient clock"
)]
pub(crate) fn ms_before_now(age: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let then = now.unwrap_or_default().saturating_sub(age);
    u64::try_from(then.as_millis()).unwrap_or(u64::MAX)
}

/// Measures what a step of the demo costs. Nothing depends on the result.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the file of the executable that reads the ambient clock"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
