//! The one place of the executable that reads the ambient world: randomness for a sealed identity, a stopwatch for the demo.

use std::time::{Duration, Instant};

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
