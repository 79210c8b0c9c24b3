//! Randomness is an argument: the crate never asks the operating system for bytes that it returns or hashes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::hash::tagged;

const TAG_SEEDED: &str = "ATE-seeded-random-v1";

/// A source of secret, uniform bytes.
///
/// Implementers fill the whole slice with bytes that nobody can predict, block rather than return weak ones, and are safe to
/// call from many threads. A source that cannot deliver must panic or end the process: there is no error to ignore.
pub trait Random: Send + Sync {
    /// Overwrites all of `out`.
    fn fill(&self, out: &mut [u8]);
}

impl<R: Random + ?Sized> Random for &R {
    fn fill(&self, out: &mut [u8]) {
        (**self).fill(out);
    }
}

impl<R: Random + ?Sized> Random for std::sync::Arc<R> {
    fn fill(&self, out: &mut [u8]) {
        (**self).fill(out);
    }
}

impl<R: Random + ?Sized> Random for Box<R> {
    fn fill(&self, out: &mut [u8]) {
        (**self).fill(out);
    }
}

/// A reproducible stream for **tests and replay only**: SHA-256 over a seed and a block counter. Anybody who knows the seed
/// knows every byte.
///
/// The sequence of calls decides the bytes: every call starts at a fresh block, so the lengths of earlier calls matter only by
/// the number of 32-byte blocks that they took.
#[derive(Debug)]
pub struct SeededRandom {
    seed: [u8; 32],
    block: AtomicU64,
}

impl SeededRandom {
    /// A stream from a number.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self::from_bytes(bytes)
    }

    /// A stream from 32 bytes.
    #[must_use]
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        Self {
            seed,
            block: AtomicU64::new(0),
        }
    }
}

impl Random for SeededRandom {
    fn fill(&self, out: &mut [u8]) {
        let blocks = out.len().div_ceil(32) as u64;
        let first = self.block.fetch_add(blocks, Ordering::Relaxed);
        for (index, chunk) in (first..).zip(out.chunks_mut(32)) {
            let block = tagged(TAG_SEEDED, &[&self.seed, &index.to_le_bytes()]);
            chunk.copy_from_slice(&block.0[..chunk.len()]);
        }
    }
}

/// `N` fresh bytes.
pub(crate) fn array<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_without_repeats() {
        let (one, two, other) = (
            SeededRandom::new(1),
            SeededRandom::new(1),
            SeededRandom::new(2),
        );
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let bytes: [u8; 33] = array(&one);
            assert_eq!(bytes, array::<33>(&two));
            assert_ne!(bytes, array::<33>(&other));
            assert!(seen.insert(bytes));
        }
    }
}
