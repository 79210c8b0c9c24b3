//! What the benches share: the record, and how a row is printed.
//!
//! `cargo xtask bench` prints the rows of the design's table, ours and those of the peers, measured on one machine in one run. `cargo bench` runs the
//! criterion benches of the hot paths of each layer.

use std::time::{Duration, Instant};

use ate::Record;
use serde::{Deserialize, Serialize};

/// A record of about 200 bytes; the peers' crate has the same fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Record)]
pub struct Sample {
    /// Number of the record.
    pub id: u64,
    name: String,
    email: String,
    balance: i64,
    tags: Vec<String>,
    note: String,
}

impl Sample {
    /// The record with this id; no two share their texts.
    #[must_use]
    pub fn new(id: u64) -> Self {
        let mut random = Mix(id);
        Self {
            id,
            name: random.text(18),
            email: format!("{}@{}.example", random.text(12), random.text(8)),
            balance: (random.next() % 2_000_000) as i64 - 1_000_000,
            tags: vec![random.text(8), random.text(8), random.text(8)],
            note: random.text(118),
        }
    }
}

/// SplitMix64: a fixed sequence for each seed.
pub struct Mix(
    /// The seed, then the state.
    pub u64,
);

impl Mix {
    /// The next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "a generator of numbers, not an iterator over them"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn text(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(b"etaoin shrdlucmfwypvbgk "[(self.next() % 24) as usize]))
            .collect()
    }
}

/// The time that `work` takes.
#[expect(clippy::disallowed_methods, reason = "benches read the clock")]
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// Now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "benches read the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Prints one row of results.
#[expect(clippy::print_stdout, reason = "the rows are the output")]
pub fn row(name: &str, value: f64, unit: &str, note: &str) {
    let shown = if value >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    };
    println!("{name:<34} {shown:>12} {unit:<12} {note}");
}

/// The value below which `percent` of the sorted samples lie.
#[must_use]
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
#[must_use]
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}
