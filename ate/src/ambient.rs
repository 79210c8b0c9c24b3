//! The one place where the ambient world is read: clock, randomness, threads.

use ate_chain::{Clock, Spawn};
use ate_crypto::Random;

/// The system's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the file that reads the ambient clock"
    )]
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    }
}

/// The operating system's source of randomness.
pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the file that reads ambient randomness"
    )]
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system provides randomness");
    }
}

/// One thread of the process.
pub(crate) struct StoreThread;

impl Spawn for StoreThread {
    fn spawn(&self, work: Box<dyn FnOnce() + Send>) {
        let named = std::thread::Builder::new().name("ate-store".to_owned());
        // Without a thread, commits are still written by whoever waits for them.
        drop(named.spawn(work));
    }
}
