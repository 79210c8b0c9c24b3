//! The one place where the ambient world is read: clock, randomness, threads.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

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

/// Time that only goes forward, since it was asked for first in this process: for how long to wait, never for what is written.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads the ambient clock"
)]
pub(crate) fn since_start() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// The operating system's source of randomness, drawn a little ahead for each thread: a call costs more than its bytes, and a commit needs three small
/// pieces. What was handed out is wiped; a process that was forked starts with nothing.
pub(crate) struct SystemRandom;

const AHEAD_BYTES: usize = 512;

struct Ahead {
    process: u32,
    left: usize,
    bytes: [u8; AHEAD_BYTES],
}

thread_local! {
    static AHEAD: RefCell<Ahead> = const { RefCell::new(Ahead { process: 0, left: 0, bytes: [0; AHEAD_BYTES] }) };
}

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) {
        if out.len() > AHEAD_BYTES / 4 {
            return system_random(out);
        }
        AHEAD.with_borrow_mut(|ahead| {
            let process = std::process::id();
            if ahead.left < out.len() || ahead.process != process {
                system_random(&mut ahead.bytes);
                (ahead.left, ahead.process) = (AHEAD_BYTES, process);
            }
            let piece = &mut ahead.bytes[ahead.left - out.len()..ahead.left];
            out.copy_from_slice(piece);
            piece.fill(0);
            ahead.left -= out.len();
        });
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that reads ambient randomness"
)]
fn system_random(out: &mut [u8]) {
    getrandom::fill(out).expect("the operating system provides randomness");
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
